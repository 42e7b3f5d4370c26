// dashboard-check reads dashboards as strictly as Grafana's own schema allows: unknown fields, missing fields, wrong
// types and values outside an enumeration are errors, in panels, queries and variables too.
//
// Grafana Labs generates the models from the schemas of Grafana; this program adds no rule of its own.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s:\n%v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(path string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read dashboard.Dashboard
	// The list of errors comes back empty rather than nil.
	var found cog.BuildErrors
	if err := read.UnmarshalJSONStrict(document); err != nil && (!errors.As(err, &found) || len(found) > 0) {
		return err
	}
	return read.Validate()
}
