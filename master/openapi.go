// SPDX-License-Identifier: Apache-2.0

package master

import (
	_ "embed"
	"net/http"
)

// description is made from the routes, the Go types and their comments by TestDescriptionIsWhatTheTypesAndRoutesGive.
//
//go:embed openapi.json
var description []byte

// openAPI describes the whole API.
func (m *Master) openAPI(w http.ResponseWriter, _ *http.Request, _ []string) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description) // a client that has gone does not want it
	return nil
}
