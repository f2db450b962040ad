package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"sort"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const mebibyte = 1 << 20

// peer is what the checks have in common: a session, where things are, and machines to try things on.
type peer struct {
	*govmomi.Client
	simulator  *simulator
	finder     *find.Finder
	datacenter *object.Datacenter
	datastore  *object.Datastore
	pool       *object.ResourcePool
	folders    *object.DatacenterFolders
	unused     []*object.VirtualMachine
}

func newPeer(ctx context.Context, client *govmomi.Client, simulator *simulator) (*peer, error) {
	p := &peer{Client: client, simulator: simulator, finder: find.NewFinder(client.Client)}
	datacenters, err := p.finder.DatacenterList(ctx, "*")
	if err != nil {
		return nil, err
	}
	p.datacenter = datacenters[0]
	p.finder.SetDatacenter(p.datacenter)
	if p.folders, err = p.datacenter.Folders(ctx); err != nil {
		return nil, err
	}
	if p.unused, err = p.finder.VirtualMachineList(ctx, "*"); err != nil {
		return nil, err
	}
	var first mo.VirtualMachine
	last := p.unused[len(p.unused)-1]
	if err := last.Properties(ctx, last.Reference(), []string{"datastore", "resourcePool"}, &first); err != nil {
		return nil, err
	}
	stores, err := p.finder.DatastoreList(ctx, "*")
	if err != nil {
		return nil, err
	}
	for _, store := range stores {
		if store.Reference() == first.Datastore[0] {
			p.datastore = store
		}
	}
	p.pool = object.NewResourcePool(client.Client, *first.ResourcePool)
	return p, nil
}

// machine is one that no check had before, on or off.
func (p *peer) machine(ctx context.Context, on bool) *object.VirtualMachine {
	expect(len(p.unused) > 0, "there are no machines left to try things on")
	machine := p.unused[len(p.unused)-1]
	p.unused = p.unused[:len(p.unused)-1]
	state, err := machine.PowerState(ctx)
	must(err)
	if on != (state == types.VirtualMachinePowerStatePoweredOn) {
		if on {
			done(ctx)(machine.PowerOn(ctx))
		} else {
			done(ctx)(machine.PowerOff(ctx))
		}
	}
	return machine
}

// done waits for a task that must succeed.
func done(ctx context.Context) func(*object.Task, error) *types.TaskInfo {
	return func(task *object.Task, err error) *types.TaskInfo {
		must(err)
		info, err := task.WaitForResult(ctx)
		must(err)
		return info
	}
}

// refused is the fault that a task has to end with, or that the call is answered with.
func refused(ctx context.Context) func(*object.Task, error) interface{} {
	return func(task *object.Task, err error) interface{} {
		if err == nil {
			var info *types.TaskInfo
			info, err = task.WaitForResult(ctx)
			if err != nil && info != nil && info.Error != nil {
				return info.Error.Fault
			}
		}
		expect(err != nil, "it succeeded, and has to be refused")
		expect(soap.IsSoapFault(err), "it is no fault: %v", err)
		// That of a task comes as a pointer, and that of a call as a value.
		fault := reflect.ValueOf(soap.ToSoapFault(err).VimFault())
		expect(fault.IsValid(), "it is no fault of the API: %v", err)
		pointer := reflect.New(fault.Type())
		pointer.Elem().Set(fault)
		return pointer.Interface()
	}
}

func properties(ctx context.Context, machine *object.VirtualMachine, paths ...string) mo.VirtualMachine {
	var found mo.VirtualMachine
	must(machine.Properties(ctx, machine.Reference(), paths, &found))
	return found
}

func disksOf(devices []types.BaseVirtualDevice) []*types.VirtualDisk {
	var disks []*types.VirtualDisk
	for _, device := range object.VirtualDeviceList(devices).SelectByType((*types.VirtualDisk)(nil)) {
		disks = append(disks, device.(*types.VirtualDisk))
	}
	sort.Slice(disks, func(i, j int) bool { return disks[i].Key < disks[j].Key })
	return disks
}

func liveDisks(ctx context.Context, machine *object.VirtualMachine) []*types.VirtualDisk {
	return disksOf(properties(ctx, machine, "config.hardware.device").Config.Hardware.Device)
}

// newMachineSpec describes a small machine with one thin disk, by negative keys.
func (p *peer) newMachineSpec(name string, mebibytes int64) types.VirtualMachineConfigSpec {
	controller := &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		SharedBus:         types.VirtualSCSISharingNoSharing,
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -1}},
	}}
	unit := int32(0)
	disk := &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: -2, ControllerKey: -1, UnitNumber: &unit,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true),
			},
		},
		CapacityInKB: mebibytes * 1024,
	}
	add := types.VirtualDeviceConfigSpecOperationAdd
	return types.VirtualMachineConfigSpec{
		Name: name, GuestId: "otherGuest64", NumCPUs: 1, MemoryMB: 128,
		Files: &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", p.datastore.Name())},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: add, Device: controller},
			&types.VirtualDeviceConfigSpec{
				Operation: add, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: disk,
			},
		},
	}
}

func (p *peer) create(ctx context.Context, name string, mebibytes int64) *object.VirtualMachine {
	info := done(ctx)(p.folders.VmFolder.CreateVM(ctx, p.newMachineSpec(name, mebibytes), p.pool, nil))
	return object.NewVirtualMachine(p.Client.Client, info.Result.(types.ManagedObjectReference))
}

// digest is the SHA-256 of a disk's bytes, by the control port.
func (p *peer) digest(machine *object.VirtualMachine, disk int32) string {
	query := url.Values{"vm": {machine.Reference().Value}, "disk": {fmt.Sprint(disk)}}
	answer, err := http.Get(p.simulator.control + "/v1/disk-extents?" + query.Encode())
	must(err)
	defer answer.Body.Close()
	var said struct{ Sha256, Error string }
	must(json.NewDecoder(answer.Body).Decode(&said))
	expect(said.Sha256 != "", "the control port has no digest: %s", said.Error)
	return said.Sha256
}

// guestWrite has the guest write, whether it runs or not.
func (p *peer) guestWrite(machine *object.VirtualMachine, disk int32, offset, length int64, seed int) {
	body := fmt.Sprintf(`{"vm": %q, "disk": %d, "offset": %d, "length": %d, "seed": %d, "force": true}`,
		machine.Reference().Value, disk, offset, length, seed)
	answer, err := http.Post(p.simulator.control+"/v1/guest-write", "application/json", strings.NewReader(body))
	must(err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(err)
	expect(answer.StatusCode == http.StatusOK, "the guest does not write: %s", said)
}

func qemuImg(arguments ...string) string {
	out, err := exec.Command("qemu-img", arguments...).CombinedOutput()
	expect(err == nil, "qemu-img %s: %v: %s", arguments[0], err, out)
	return string(out)
}

func sha256Of(path string) string {
	file, err := os.Open(path)
	must(err)
	defer file.Close()
	digest := sha256.New()
	_, err = io.Copy(digest, file)
	must(err)
	return hex.EncodeToString(digest.Sum(nil))
}
