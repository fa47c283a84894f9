// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// auditPolicy has the API server note what Contiv's programs ask it for, on hosts and in pods, once it is answered.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, Panic]
rules:
- level: Metadata
  users: [contiv-netplugin, contiv-netmaster, "system:serviceaccount:kube-system:contiv-netplugin", "system:serviceaccount:kube-system:contiv-netmaster"]
- level: None
`

const auditLog = "audit.log"

// Request is what a user asked the API server for.
type Request struct {
	User, Verb, Group, Resource string
	Forbidden                   bool
}

// Requests are those of Contiv's programs, in the order of their answers.
func (c *Cluster) Requests() ([]Request, error) {
	text, err := os.ReadFile(c.authority.path(auditLog))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // until the first
	} else if err != nil {
		return nil, err
	}
	// What is being written ends without a newline.
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	var all []Request
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var e struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct {
				APIGroup, Resource string
			}
			ResponseStatus struct{ Code int }
		}
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the API server's audit log: %w", err)
		}
		all = append(all, Request{e.User.Username, e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ResponseStatus.Code == http.StatusForbidden})
	}
}
