// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

// A misspelt dry-run would write, and a misspelt filter would show everything.
func TestUnknownQueryParametersAreRefusedByNameEverywhere(t *testing.T) {
	t.Parallel()
	s := alone(t)
	_, body, _ := s.raw(http.MethodGet, api.OpenAPIPath, "")
	var described struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	s.must(json.Unmarshal([]byte(body), &described))
	asked := 0
	refuses := func(method, path, query, field string) {
		t.Helper()
		asked++
		status, body, _ := s.raw(method, path+"?"+query, "")
		var e api.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusBadRequest || e.Field != field || !strings.Contains(e.Text, field) {
			t.Errorf("%s %s?%s is answered with %d %s", method, path, query, status, body)
		}
	}
	for path, methods := range described.Paths {
		path = strings.NewReplacer("{key}", "default", "{node}", "n1", "{network}", "default:net", "{address}", "10.1.1.1").Replace(path)
		for method, operation := range methods {
			refuses(strings.ToUpper(method), path, "dry_run=true", "dry_run")
			for _, p := range operation.Parameters {
				if p.In == "query" {
					refuses(strings.ToUpper(method), path, p.Name+"=x&"+p.Name+"=y", p.Name)
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d were asked", asked)
	}
	refuses(http.MethodGet, api.Root+api.Tenants, "%zz", "")
}
