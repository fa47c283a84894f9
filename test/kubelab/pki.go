// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the cluster's certificates and writes them, and who uses them, into a directory.
type authority struct {
	dir  string
	api  string // URL of the API server
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes one, with its certificate in ca.crt, and the key of service accounts in sa.key and sa.pub.
func newAuthority(dir, api string) (*authority, error) {
	a := &authority{dir: dir, api: api}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := a.sign("ca", a.cert, &a.key.PublicKey); err != nil {
		return nil, err
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := a.writeKey("sa", accounts); err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&accounts.PublicKey)
	if err != nil {
		return nil, err
	}
	return a, a.write("sa.pub", "PUBLIC KEY", public)
}

// issue writes name.crt and name.key, for a user of a group, and for servers that have one of the names or addresses.
func (a *authority) issue(name, user, group string, names []string, addrs ...net.IP) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	cert := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: user}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames: names, IPAddresses: addrs,
	}
	if group != "" {
		cert.Subject.Organization = []string{group}
	}
	if err := a.sign(name, cert, &key.PublicKey); err != nil {
		return err
	}
	return a.writeKey(name, key)
}

// client writes name.conf, the kubeconfig of a user of a group, and gives its path.
func (a *authority) client(name, user, group string) (string, error) {
	if err := a.issue(name, user, group, nil); err != nil {
		return "", err
	}
	type m = map[string]any
	config, err := json.Marshal(m{
		"apiVersion": "v1", "kind": "Config", "current-context": "lab",
		"clusters": []m{{"name": "lab", "cluster": m{"server": a.api, "certificate-authority": a.path("ca.crt")}}},
		"users":    []m{{"name": name, "user": m{"client-certificate": a.path(name + ".crt"), "client-key": a.path(name + ".key")}}},
		"contexts": []m{{"name": "lab", "context": m{"cluster": "lab", "user": name}}},
	})
	if err != nil {
		return "", err
	}
	path := a.path(name + ".conf")
	return path, os.WriteFile(path, config, 0o600)
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func (a *authority) sign(name string, cert *x509.Certificate, key *ecdsa.PublicKey) error {
	signed, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key, a.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	return a.write(name+".crt", "CERTIFICATE", signed)
}

func (a *authority) writeKey(name string, key *ecdsa.PrivateKey) error {
	b, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return a.write(name+".key", "EC PRIVATE KEY", b)
}

func (a *authority) write(file, what string, b []byte) error {
	return os.WriteFile(a.path(file), pem.EncodeToMemory(&pem.Block{Type: what, Bytes: b}), 0o600)
}
