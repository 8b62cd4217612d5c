// Package component renders what the cluster's daemons are started with: command lines, configuration files, kubeconfigs and
// static tokens. Plain functions from paths and addresses to text; nothing is written or run here.
package component
