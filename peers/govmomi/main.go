// govmomi's client, unmodified, against vsphere-sim: each thing that people do with it is a check of its own.
//
// Called as main PATH-OF-VSPHERE-SIM FOLDER [NAME-OF-A-CHECK...]. It starts the simulator, runs the checks
// one by one and prints how each went. The folder's missing.txt names those that are known to fail, because the simulator
// lacks something, one a line, and its host.txt those of what a host by itself lacks; one of them that passes is a failure
// too. The environment's VSPHERE_SIM_OPTIONS holds further options of the simulator, such as another style of the wire, or
// --esxi. It builds from Debian's packages alone, see the script `run`.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
)

const (
	user = "peer@vsphere.local"
	// Some for each check: none meets what another has left behind.
	machines     = 40
	startTimeout = 2 * time.Minute
	checkTimeout = 3 * time.Minute
)

// A check fails by a panic, for which `expect` and `must` are there.
type check struct {
	name string
	run  func(context.Context, *peer)
}

// failure is what `expect` and `must` panic with. Whatever else panics, inside of the library, is a failed check too.
type failure string

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: main PATH-OF-VSPHERE-SIM FOLDER-OF-MISSING-CHECKS [NAME-OF-A-CHECK...]")
		os.Exit(2)
	}
	good, err := runAll(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "govmomi:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func runAll(program, folder string, wanted []string) (bool, error) {
	files := []string{"missing.txt"}
	if isHost() {
		files = append(files, "host.txt")
	}
	missing := strings.Join(files, " and ")
	known := map[string]bool{}
	for _, file := range files {
		if err := readMissing(filepath.Join(folder, file), known); err != nil {
			return false, err
		}
	}
	simulator, err := start(program)
	if err != nil {
		return false, err
	}
	defer simulator.stop()
	client, err := simulator.logIn(context.Background())
	if err != nil {
		return false, err
	}
	them, err := newPeer(context.Background(), client, simulator)
	if err != nil {
		return false, err
	}
	checks := append(append(append([]check{}, inventoryChecks...), machineChecks...), storageChecks...)
	passed, failed, lacking := 0, 0, 0
	for _, one := range checks {
		if len(wanted) > 0 && !contains(wanted, one.name) {
			continue
		}
		began := time.Now()
		said := tried(one, them)
		isKnown := known[one.name]
		delete(known, one.name)
		switch {
		case said == "" && !isKnown:
			passed++
			fmt.Printf("ok   %s (%.1f s)\n", one.name, time.Since(began).Seconds())
		case said == "":
			failed++
			fmt.Printf("FAIL %s: passes, take it out of %s\n", one.name, missing)
		case isKnown:
			lacking++
			fmt.Printf("lack %s: %s\n", one.name, said)
		default:
			failed++
			fmt.Printf("FAIL %s: %s\n", one.name, said)
		}
	}
	if len(wanted) == 0 {
		for name := range known {
			failed++
			fmt.Printf("FAIL %s: is named in %s, and there is no such check\n", name, missing)
		}
	}
	if err := client.Logout(context.Background()); err != nil {
		return false, err
	}
	fmt.Printf("%d passed, %d failed, %d known to be lacking\n", passed, failed, lacking)
	return failed == 0, nil
}

// tried says how a check failed, or nothing.
func tried(one check, them *peer) (said string) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case failure:
			said = string(thrown)
		default:
			said = fmt.Sprintf("%v at %s", thrown, place(debug.Stack()))
		}
	}()
	one.run(ctx, them)
	return ""
}

// place is the first line of ours in a stack.
func place(stack []byte) string {
	for _, line := range strings.Split(string(stack), "\n") {
		if at := strings.LastIndex(line, "/peers/govmomi/"); at >= 0 && !strings.Contains(line, "/main.go:") {
			return strings.Fields(line[at+len("/peers/govmomi/"):])[0]
		}
	}
	return "an unknown place"
}

func expect(holds bool, format string, arguments ...interface{}) {
	if !holds {
		panic(failure(fmt.Sprintf(format, arguments...) + " (" + place(debug.Stack()) + ")"))
	}
}

func must(err error) {
	if err != nil {
		panic(failure(fmt.Sprintf("%v (%s)", err, place(debug.Stack()))))
	}
}

func contains(list []string, wanted string) bool {
	for _, one := range list {
		if one == wanted {
			return true
		}
	}
	return false
}

// isHost says whether the simulator is a host by itself.
func isHost() bool {
	return contains(furtherOptions(), "--esxi")
}

func furtherOptions() []string {
	return strings.Fields(os.Getenv("VSPHERE_SIM_OPTIONS"))
}

func readMissing(path string, known map[string]bool) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(content), "\n") {
		name := strings.TrimSpace(strings.SplitN(line, "#", 2)[0])
		if name != "" {
			known[name] = true
		}
	}
	return nil
}

// simulator is vsphere-sim as a child process.
type simulator struct {
	process      *exec.Cmd
	data         string
	password     string
	url, control string
	thumbprint   string
}

func start(program string) (*simulator, error) {
	secret := make([]byte, 12)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "peers-govmomi-")
	if err != nil {
		return nil, err
	}
	s := &simulator{data: data, password: hex.EncodeToString(secret)}
	options := []string{"--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--vms", fmt.Sprint(machines), "--datastores", "2",
		"--data", data, "--user", user, "--password-env", "PEER_PASSWORD"}
	if !isHost() {
		options = append(options, "--hosts", "2")
	}
	options = append(options, furtherOptions()...)
	s.process = exec.Command(program, options...)
	s.process.Env = append(os.Environ(), "PEER_PASSWORD="+s.password)
	s.process.Stderr = os.Stderr
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		os.RemoveAll(data)
		return nil, err
	}
	timer := time.AfterFunc(startTimeout, func() { s.process.Process.Kill() })
	lines := bufio.NewScanner(out)
	for (s.url == "" || s.control == "" || s.thumbprint == "") && lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 2)
		switch words[0] {
		case "url":
			s.url = words[1]
		case "control":
			s.control = words[1]
		case "sha1":
			s.thumbprint = words[1]
		}
	}
	timer.Stop()
	if s.thumbprint == "" {
		s.stop()
		return nil, fmt.Errorf("vsphere-sim did not say where it listens within %v", startTimeout)
	}
	// Whatever it says later is of no interest, but the pipe must not fill up.
	go io.Copy(io.Discard, out)
	return s, nil
}

func (s *simulator) stop() {
	s.process.Process.Kill()
	s.process.Wait()
	os.RemoveAll(s.data)
}

// logIn trusts the server by its thumbprint, as govmomi's users do.
func (s *simulator) logIn(ctx context.Context) (*govmomi.Client, error) {
	address, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	transport := soap.NewClient(address, false)
	transport.SetThumbprint(address.Host, s.thumbprint)
	client, err := vim25.NewClient(ctx, transport)
	if err != nil {
		return nil, err
	}
	manager := session.NewManager(client)
	if err := manager.Login(ctx, url.UserPassword(user, s.password)); err != nil {
		return nil, err
	}
	return &govmomi.Client{Client: client, SessionManager: manager}, nil
}
