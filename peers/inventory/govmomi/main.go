// Reads properties of all machines with govmomi's client, as its users do it, and prints what that took.
package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
)

func main() {
	address, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	address.User = url.UserPassword(os.Args[2], os.Getenv("PEER_PASSWORD"))
	ctx := context.Background()
	// The server is a child of this check, on the loopback address.
	client, err := govmomi.NewClient(ctx, address, true)
	if err != nil {
		log.Fatal(err)
	}
	all, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err != nil {
		log.Fatal(err)
	}
	var machines []mo.VirtualMachine
	paths := strings.Split(os.Getenv("INVENTORY_PATHS"), ",")
	if err := all.Retrieve(ctx, []string{"VirtualMachine"}, paths, &machines); err != nil {
		log.Fatal(err)
	}
	devices := 0
	for _, machine := range machines {
		devices += len(machine.Config.Hardware.Device)
	}
	if len(machines) == 0 || devices < len(machines) {
		log.Fatalf("%d machines, %d devices", len(machines), devices)
	}
	if err := client.Logout(ctx); err != nil {
		log.Fatal(err)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	seconds := float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
	fmt.Printf("\"govmomi_retrieve_5000_cpu_s\": %.2f, \"govmomi_retrieve_5000_peak_mb\": %.1f\n", seconds, float64(usage.Maxrss)*1024/1e6)
}
