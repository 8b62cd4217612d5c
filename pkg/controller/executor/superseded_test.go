package executor

import "testing"

func TestSuperseded(t *testing.T) {
	for name, row := range map[string]struct {
		writes [][2]string
		cached string
		want   bool
	}{
		"nothing was written":                {nil, "1", false},
		"the version before a write":         {[][2]string{{"1", "2"}}, "1", true},
		"that between two":                   {[][2]string{{"1", "2"}, {"2", "3"}}, "2", true},
		"that before both":                   {[][2]string{{"1", "2"}, {"2", "3"}}, "1", true},
		"what was written":                   {[][2]string{{"1", "2"}, {"2", "3"}}, "3", false},
		"what somebody else wrote since":     {[][2]string{{"1", "2"}}, "9", false},
		"after a write that changed nothing": {[][2]string{{"1", "1"}}, "1", false},
	} {
		t.Run(name, func(t *testing.T) {
			var s superseded
			for _, w := range row.writes {
				s.wrote("team/app-1", w[0], w[1])
			}
			if got := s.has("team/app-1", row.cached); got != row.want {
				t.Errorf("has is %v", got)
			}
			if s.has("team/app-2", row.cached) {
				t.Error("another Build's version is taken for it")
			}
		})
	}
	t.Run("nothing is kept once the cache has it", func(t *testing.T) {
		var s superseded
		s.wrote("team/app-1", "1", "2")
		s.has("team/app-1", "2")
		if len(s.versions) > 0 {
			t.Errorf("kept are %v", s.versions)
		}
	})
}
