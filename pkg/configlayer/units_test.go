package configlayer

import (
	"strings"
	"testing"
)

var unitRows = []struct {
	name  string
	units string
	want  []string // lines that the layer must have; with a leading "!" must not
	warn  string
}{
	{
		name: "unit of the base", units: `{"name":"base.service","enabled":true}`,
		want: []string{
			"2 0777 0:0 etc/systemd/system/multi-user.target.wants/base.service -> /usr/lib/systemd/system/base.service",
			"2 0777 0:0 etc/systemd/system/other.service -> /usr/lib/systemd/system/base.service",
			`20-ignition.preset "enable base.service\n"`,
		},
	},
	{
		name: "unit of the base with a drop-in that installs it elsewhere", units: `{"name":"base.service","enabled":true,"dropins":[{"name":"a.conf","contents":"[Install]\nWantedBy=\nWantedBy=other.target\n"}]}`,
		want: []string{"other.target.wants/base.service -> /usr/lib", "!multi-user.target.wants/base.service"},
	},
	{
		name: "unit of the config in front of the base's", units: `{"name":"base.service","enabled":true,"contents":"[Install]\nRequiredBy=a.target\nUpheldBy=b.target\n"}`,
		want: []string{"a.target.requires/base.service -> /etc/systemd/system/base.service", "b.target.upholds/base.service -> /etc", "!multi-user"},
	},
	{
		name: "instance of a template of the base", units: `{"name":"tpl@one.service","enabled":true},{"name":"tpl@two.service","enabled":true}`,
		want: []string{"tpl.target.wants/tpl@one.service -> /usr/lib/systemd/system/tpl@.service", "tpl.target.wants/tpl@two.service", `"enable tpl@.service one two\n"`},
	},
	{
		name: "template by its default instance", units: `{"name":"tpl@.service","enabled":true}`,
		want: []string{"tpl.target.wants/tpl@zero.service -> /usr/lib/systemd/system/tpl@.service", `"enable tpl@.service \n"`},
	},
	{
		name: "template without a default instance", units: `{"name":"t@.service","enabled":true,"contents":"[Install]\nWantedBy=x.target\n"}`,
		want: []string{"!x.target.wants"}, warn: "template without DefaultInstance=",
	},
	{
		name: "also", units: `{"name":"a.service","enabled":true,"contents":"[Install]\nAlso=base.service a.service\n"}`,
		want: []string{"multi-user.target.wants/base.service"},
	},
	{name: "alias of the base", units: `{"name":"alias.service","enabled":true}`, want: []string{"!.wants/"}, warn: "is an alias in the base image"},
	{name: "missing", units: `{"name":"gone.service","enabled":true}`, want: []string{"enable gone.service", "!.wants/"}, warn: "neither in the config nor"},
	{name: "masked by the base", units: `{"name":"masked.service","enabled":true}`, want: []string{"!.wants/"}, warn: "is masked"},
	{name: "masked by the config", units: `{"name":"base.service","enabled":true,"mask":true}`, want: []string{"system/base.service -> /dev/null", "!.wants/"}, warn: "is masked"},
	{name: "unmasked", units: `{"name":"masked.service","mask":false}`, want: []string{"etc/systemd/system/.wh.masked.service"}},
	{name: "not masked", units: `{"name":"on.service","mask":false}`, want: []string{"!on.service"}},
	{
		name: "disabled that was enabled", units: `{"name":"on.service","enabled":false}`,
		want: []string{"etc/systemd/system/.wh.multi-user.target.wants ", `"disable on.service\n"`},
	},
	{name: "disabled that was not", units: `{"name":"base.service","enabled":false}`, want: []string{"!preset", "!.wh."}},
	{name: "disabled that cannot be enabled", units: `{"name":"static.service","enabled":false}`, want: []string{`"disable static.service\n"`}},
	{name: "disabled that is not there", units: `{"name":"gone.service","enabled":false}`, want: []string{"!preset"}},
	{name: "disabled instance", units: `{"name":"tpl@one.service","enabled":false}`, want: []string{"!preset"}},
	{name: "neither", units: `{"name":"base.service"}`, want: []string{"!systemd"}},
	{
		name: "what a running system alone knows", units: `{"name":"a.service","enabled":true,"contents":"[Install]\nWantedBy=%H.target sub/../x.target ok.target\nAlias=b.socket\n"}`,
		want: []string{"ok.target.wants/a.service", "!H.target.wants", "!x.target.wants", "!system/b.socket"}, warn: "is left out",
	},
	{
		name: "something else in the link's place", units: `{"name":"a.service","enabled":true,"contents":"[Install]\nAlias=on.service\n"}`,
		want: []string{"!on.service "}, warn: "left as it is",
	},
	{
		name: "continued and commented lines", units: `{"name":"a.service","enabled":true,"contents":"[Install]\n# WantedBy=no.target\nWantedBy=one.target \\\n  two.target\n; x\n[Unit]\nWantedBy=no.target\n"}`,
		want: []string{"one.target.wants/a.service", "two.target.wants/a.service", "!no.target.wants"},
	},
	{name: "linked unit", units: `{"name":"linked.service","enabled":true}`, want: []string{"multi-user.target.wants/linked.service -> /opt/linked.service"}},
}

func TestUnits(t *testing.T) {
	base := testTree(t, osLayer(t), layerTar(t,
		testNode{spec: "etc/systemd/system/linked.service -> /opt/linked.service"},
		testNode{spec: "var/opt/linked.service", mode: 0o644, text: "[Install]\nWantedBy=multi-user.target\n"}))
	deps := osDeps(t, base)
	read := deps.ReadBase
	for _, row := range unitRows {
		t.Run(row.name, func(t *testing.T) {
			deps := deps
			if row.name == "linked unit" {
				deps.ReadBase = readOnly("/var/opt/linked.service", "[Install]\nWantedBy=multi-user.target\n", read)
			}
			layer, err := Build(t.Context(), testConfig(`{"ignition":{"version":"3.4.0"},"systemd":{"units":[`+row.units+`]}}`), base, deps)
			if err != nil {
				t.Fatal(err)
			}
			got := withoutCurrent(listing(t, layer))
			for _, want := range row.want {
				text, not := strings.CutPrefix(want, "!")
				if strings.Contains(got, text) == not {
					t.Errorf("%s: in\n%s", want, got)
				}
			}
			if warned := strings.Join(layer.Warnings(), "\n"); !strings.Contains(warned, row.warn) {
				t.Errorf("warnings are %q, want %q", warned, row.warn)
			}
		})
	}
}

func TestUnitNames(t *testing.T) {
	for _, row := range []struct{ units, err string }{
		{`{"name":"../x.service"}`, "$.systemd.units[0].name: holds a slash"},
		{`{"name":"a\nenable b.service"}`, "$.systemd.units[0].name: control character"},
		{`{"name":"a.service","dropins":[{"name":"../../x.conf","contents":""}]}`, "$.systemd.units[0].dropins[0].name: holds a slash"},
		{`{"name":"on.service.d.service"},{"name":".wh.on.service","mask":true}`, "$.systemd.units[1].name: would remove files"},
	} {
		_, err := Build(t.Context(), testConfig(`{"ignition":{"version":"3.4.0"},"systemd":{"units":[`+row.units+`]}}`), osTree(t), Deps{})
		checkConfigError(t, err, row.err)
	}
}

func TestExpand(t *testing.T) {
	for _, row := range []struct{ word, unit, want string }{
		{"%p-%i.target", "a-b@c.service", "a-b-c.target"},
		{"%n/%N", "a.service", "a.service/a"},
		{"%j", "a-b-c.service", "c"},
		{"100%%", "a.service", "100%"},
		{"%H", "a.service", "!"},
		{"x%", "a.service", "!"},
	} {
		got, ok := expand(row.word, row.unit)
		if !ok {
			got = "!"
		}
		if got != row.want {
			t.Errorf("%s of %s is %s, want %s", row.word, row.unit, got, row.want)
		}
	}
}
