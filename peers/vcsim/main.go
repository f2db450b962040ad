// A vCenter made by govmomi's simulator library: the server that vim-api must get along with and did not grow up with.
//
// It builds from Debian's packages alone (golang-go, golang-github-vmware-govmomi-dev), see the script `run`. Once it
// listens it prints three lines, "url", "sha1" and "sha256", each followed by a blank and the value, and then serves
// until standard input ends: a parent that dies takes it along.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	// The lookup service, which tells where the STS is.
	_ "github.com/vmware/govmomi/lookup/simulator"
	// Storage policies.
	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	// Its STS: one token for everybody, that somebody was once given by a real one.
	_ "github.com/vmware/govmomi/sts/simulator"
	// REST sessions and tags.
	_ "github.com/vmware/govmomi/vapi/simulator"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address and port; port 0 lets the system choose")
	user := flag.String("user", "", "the only user that may log in")
	passwordEnv := flag.String("password-env", "", "environment variable that holds the password")
	machines := flag.Int("vms", 2, "virtual machines per resource pool")
	clientPEM := flag.String("client-pem", "", "file to write a certificate with its key to, for clients that show one")
	// The library's own default is 6.5, which makes clients hide everything that is newer.
	apiVersion := flag.String("api-version", "8.0.3.0", "the API version to announce")
	flag.Parse()
	if *user == "" || os.Getenv(*passwordEnv) == "" {
		log.Fatal("give -user, and -password-env with the name of a variable that is set")
	}

	model := simulator.VPX()
	model.Machine = *machines
	model.ServiceContent.About.ApiVersion = *apiVersion
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()

	certificate, err := newCertificate()
	if err != nil {
		log.Fatal(err)
	}
	// Clients may show a certificate, whichever: the library asks only whether there is one.
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
	if *clientPEM != "" {
		if err := writeClientPEM(*clientPEM); err != nil {
			log.Fatal(err)
		}
	}
	model.Service.ServeMux = http.NewServeMux()
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, os.Getenv(*passwordEnv))}
	server := model.Service.NewServer()
	defer server.Close()

	// The library's setting has the port of a real vCenter; the lookup service reads it when it is first asked.
	for _, option := range simulator.Map.OptionManager().Setting {
		if value := option.GetOptionValue(); value.Key == "config.vpxd.sso.sts.uri" {
			value.Value = "https://" + server.URL.Host + "/sts/STSService/vsphere.local"
		}
	}

	leaf := certificate.Certificate[0]
	address := *server.URL
	address.User = nil
	fmt.Printf("url %s\n", address.String())
	short, long := sha1.Sum(leaf), sha256.Sum256(leaf)
	fmt.Printf("sha1 %s\n", thumbprint(short[:]))
	fmt.Printf("sha256 %s\n", thumbprint(long[:]))

	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		log.Print(err)
	}
}

// newCertificate makes a leaf that strict TLS libraries take: RSA of 2048 bits, not an authority, valid for the
// loopback address. The library's built-in one has 1024 bits and calls itself an authority.
func newCertificate() (tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "vcsim"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  false,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// writeClientPEM makes a certificate for a client and writes it to the file, its key behind it.
func writeClientPEM(path string) error {
	certificate, err := newCertificate()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return os.WriteFile(path, text, 0o600)
}

// thumbprint writes a digest the way people compare it: upper-case pairs with colons.
func thumbprint(digest []byte) string {
	pairs := make([]string, len(digest))
	for i, b := range digest {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}
