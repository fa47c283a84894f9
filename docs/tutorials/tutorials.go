// SPDX-License-Identifier: Apache-2.0

// Package tutorials carries the tutorials' text, so that the demo and the tests run what a reader sees.
package tutorials

import _ "embed"

// Docker is docker.md.
//
//go:embed docker.md
var Docker string

// Policy is policy.md.
//
//go:embed policy.md
var Policy string

// Overview is overview.md.
//
//go:embed overview.md
var Overview string

// Names is names.md.
//
//go:embed names.md
var Names string

// VLAN is vlan.md.
//
//go:embed vlan.md
var VLAN string

// Services is services.md.
//
//go:embed services.md
var Services string

// Outside is outside.md.
//
//go:embed outside.md
var Outside string

// Host is host.md.
//
//go:embed host.md
var Host string

// Kubernetes is kubernetes.md.
//
//go:embed kubernetes.md
var Kubernetes string
