// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/url"
	"strings"
)

// Health is how a provider is asked whether it works. Both ask the first port of TCP that the service has, at the provider's
// own address.
type Health struct {
	// Path is what is asked for by GET, which must be answered with a status from 200 to 399; "" for a check that only connects.
	Path string
}

// Spellings of a health check.
const (
	healthTCP  = "tcp"
	healthHTTP = "http"
)

// String is what ParseHealth reads.
func (h Health) String() string {
	switch h.Path {
	case "":
		return healthTCP
	case "/":
		return healthHTTP
	}
	return healthHTTP + ":" + h.Path
}

// ParseHealth reads tcp, http or http:/path, which may have a query.
func ParseHealth(text string) (Health, error) {
	switch text {
	case healthTCP:
		return Health{}, nil
	case healthHTTP:
		return Health{Path: "/"}, nil
	}
	path, ok := strings.CutPrefix(text, healthHTTP+":")
	if !ok {
		return Health{}, Invalid("healthCheck", "healthCheck %q is unknown; use tcp, http or http:/path", Short(text))
	}
	_, err := url.ParseRequestURI(path)
	printable := !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
	if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !printable || len(path) > 256 {
		return Health{}, Invalid("healthCheck", "healthCheck %q has no path of HTTP; write it as http:/health, with at most 256 characters of ASCII and no spaces", Short(text))
	}
	return Health{Path: path}, nil
}
