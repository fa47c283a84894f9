// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

// A refusal is read by people, also when what is refused was a file by mistake.
func TestRefusalsSayBackOnlyTheBeginningOfWhatIsLong(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	long := strings.Repeat("äb c:", 2000)
	asked := 0
	ask := func(method, path, body string) {
		t.Helper()
		status, answer, _ := s.raw(method, path, body)
		asked++
		if status == http.StatusOK && method == http.MethodDelete {
			return // of an endpoint that is not there
		}
		var e api.Error
		if err := json.Unmarshal([]byte(answer), &e); err != nil || status/100 != 4 || len(e.Text) > 600 || len(e.Field) > 90 {
			t.Errorf("%s %.60s %.60s is answered with %d and %d bytes: %.300s", method, path, body, status, len(answer), answer)
		}
	}
	quoted, err := json.Marshal(long)
	s.must(err)
	value := string(quoted)
	_, body, _ := s.raw(http.MethodGet, api.OpenAPIPath, "")
	var described struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	s.must(json.Unmarshal([]byte(body), &described))
	for path, methods := range described.Paths {
		filled := strings.NewReplacer("{key}", "default:p:1", "{node}", "n1", "{network}", "default:net", "{address}", "10.1.1.1").Replace(path)
		if at, _, has := strings.Cut(path, "{"); has {
			for method := range methods {
				ask(strings.ToUpper(method), at+url.PathEscape(long), `{}`)
			}
		}
		for method, operation := range methods {
			ask(strings.ToUpper(method), filled+"?"+url.QueryEscape(long)+"=1", "")
			ref := operation.RequestBody.Content["application/json"].Schema.Ref
			if ref == "" {
				continue
			}
			ask(strings.ToUpper(method), filled, value)
			ask(strings.ToUpper(method), filled, `{`+value+`:1}`)
			ask(strings.ToUpper(method), filled, `{`+value+`:1,`+value+`:2}`)
			for field := range described.Components.Schemas[ref[strings.LastIndex(ref, "/")+1:]].Properties {
				// Some take any text: those are wrong in another field, or as a list.
				for _, bad := range []string{value, `[` + value + `]`, `{` + value + `:` + value + `}`, `"fe80::1%` + strings.Repeat("z", 5000) + `"`} {
					ask(strings.ToUpper(method), filled, `{"`+field+`":`+bad+`,"no such":`+value+`}`)
				}
			}
		}
	}
	ask(http.MethodPost, api.ApplyPath, `{"objects":[{"collection":`+value+`,"object":{}}]}`)
	for _, row := range []struct{ collection, key, field string }{
		{api.Tenants, "x", "tenantName"}, {api.Networks, "default:x", "subnet"}, {api.Networks, "default:x", "encap"}, {api.Networks, "default:x", "cfgdTag"},
		{api.Rules, "default:p:1", "action"}, {api.ServiceLBs, "default:x", "networkName"}, {api.BGPs, "x", "routerip"}, {api.Globals, "global", "vlans"},
		{api.Globals, "global", "name"}, {api.Netprofiles, "default:x", "bandwidth"},
	} {
		ask(http.MethodPost, api.ApplyPath, `{"objects":[{"collection":"`+row.collection+`","object":{"`+row.field+`":`+value+`}}]}`)
		ask(http.MethodPost, api.ObjectPath(row.collection, row.key), `{"`+row.field+`":`+value+`}`)
	}
	ask(http.MethodGet, "/"+strings.Repeat("z", 5000), "")
	ask(http.MethodDelete, "/version/"+strings.Repeat("z", 5000), "")
	if asked < 500 {
		t.Errorf("only %d were asked", asked)
	}
}
