// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

// Of two values the last would win without a word, and a client in another language may take a field's case for another field.
func TestFieldsInAnotherCaseOrTwiceAreRefused(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, row := range []struct{ method, path, body, field, word string }{
		{"PUT", "/api/v1/tenants/blue", `{"TenantName":"blue"}`, "TenantName", `"tenantName"`},
		{"PUT", "/api/v1/tenants/blue", `{"tenantName":"blue","tenantName":"blue"}`, "tenantName", "twice"},
		{"PUT", "/api/v1/tenants/blue", `{"tenantName":"blue","tenant\u004eame":"red"}`, "tenantName", "twice"},
		{"POST", "/api/v1/networks/default:a/", `{"subnet":"10.1.1.0/24","Gateway":"10.1.1.1"}`, "Gateway", `"gateway"`},
		{"POST", "/api/v1/networks/default:a/", `{"subnet":"10.1.1.0/24","links":{"Tenant":{"Type":"tenant"}}}`, "links", `"type"`},
		{"POST", "/api/v1/endpoints/e/", `{"labels":{"app":"web","app":"db"}}`, "labels", `"app" is there twice`},
		{"POST", "/api/v1/apply", `{"objects":[{"Collection":"tenants"}]}`, "objects", `"collection"`},
		{"POST", "/api/v1/apply", `{"objects":[{"collection":"tenants","object":{"TENANTNAME":"blue"}}]}`, "TENANTNAME", `"tenantName"`},
		{"POST", "/api/v1/apply", `{"objects":[{"collection":"tenants","object":{"tenantName":"blue","tenantName":"red"}}]}`, "objects", "twice"},
		{"POST", "/api/v1/addresses/default:a", `{"Node":"n1"}`, "Node", `"node"`},
		{"POST", "/api/v1/nodes/n1/alive", `{"a":1,"a":2}`, "a", "twice"},
		{"PUT", "/api/v1/tenants/blue", `{"links":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 201), "links", "in one another"},
	} {
		status, body, _ := s.raw(row.method, row.path, row.body)
		var e api.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusBadRequest || e.Field != row.field || !strings.Contains(e.Text, row.word) {
			t.Errorf("%s %s %s is answered with %d %s", row.method, row.path, row.body, status, body)
		}
	}
	// A label is its user's own: in one case and another they are two.
	for _, body := range []string{`{"tenantName":"blue","link-sets":{"A":{},"a":{}}}`, `{}`, ``} {
		if status, answer, _ := s.raw("PUT", "/api/v1/tenants/blue", body); status != http.StatusOK {
			t.Errorf("%q is answered with %d %s", body, status, answer)
		}
	}
}
