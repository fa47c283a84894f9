// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"
	"testing"
)

func TestCertificatesAreOfTheAuthority(t *testing.T) {
	t.Parallel()
	a, err := newAuthority(t.TempDir(), "https://192.168.2.54:6443")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.issue("apiserver", "kube-apiserver", "", []string{"kubernetes"}, net.ParseIP("192.168.2.54")); err != nil {
		t.Fatal(err)
	}
	path, err := a.client("admin", "kubernetes-admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.path("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for name, who := range map[string]string{"apiserver": "192.168.2.54", "admin": ""} {
		pair, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: who, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if o := pair.Leaf.Subject.Organization; name == "admin" && (len(o) != 1 || o[0] != "system:masters") {
			t.Errorf("the administrator is in %v", o)
		}
	}
	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
	}
	if text, err = os.ReadFile(path); err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil || len(config.Clusters) != 1 || config.Clusters[0].Cluster.Server != "https://192.168.2.54:6443" {
		t.Errorf("the kubeconfig is %s, %v", text, err)
	}
}
