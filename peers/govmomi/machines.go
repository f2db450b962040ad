package main

import (
	"context"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

var machineChecks = []check{
	{"power", checkPower},
	{"power_reset_and_suspend", checkResetAndSuspend},
	{"power_several", checkPowerSeveral},
	{"shutdown_guest", checkShutdownGuest},
	{"wait_for_ip", checkWaitForIP},
	{"snapshot", checkSnapshot},
	{"snapshot_revert", checkSnapshotRevert},
	{"changed_areas", checkChangedAreas},
	{"reconfigure", checkReconfigure},
	{"devices", checkDevices},
	{"create", checkCreate},
	{"register", checkRegister},
	{"clone", checkClone},
	{"linked_clone", checkLinkedClone},
	{"template", checkTemplate},
	{"relocate", checkRelocate},
	{"rename", checkRename},
	{"destroy", checkDestroy},
}

func checkPower(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	done(ctx)(machine.PowerOn(ctx))
	fault, ok := refused(ctx)(machine.PowerOn(ctx)).(*types.InvalidPowerState)
	expect(ok && fault.ExistingState == types.VirtualMachinePowerStatePoweredOn, "the fault is %+v", fault)
	running, err := machine.IsToolsRunning(ctx)
	must(err)
	expect(running, "the tools do not run")
	done(ctx)(machine.PowerOff(ctx))
	_, ok = refused(ctx)(machine.PowerOff(ctx)).(*types.InvalidPowerState)
	expect(ok, "a machine that is off is switched off with another fault")
}

func checkResetAndSuspend(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	done(ctx)(machine.Reset(ctx))
	done(ctx)(machine.Suspend(ctx))
	state, err := machine.PowerState(ctx)
	must(err)
	expect(state == types.VirtualMachinePowerStateSuspended, "it is %s", state)
	done(ctx)(machine.PowerOn(ctx))
}

func checkPowerSeveral(ctx context.Context, p *peer) {
	first, second := p.machine(ctx, false), p.machine(ctx, false)
	done(ctx)(p.datacenter.PowerOnVM(ctx, []types.ManagedObjectReference{first.Reference(), second.Reference()}))
	must(first.WaitForPowerState(ctx, types.VirtualMachinePowerStatePoweredOn))
	must(second.WaitForPowerState(ctx, types.VirtualMachinePowerStatePoweredOn))
}

func checkShutdownGuest(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	must(machine.ShutdownGuest(ctx))
	must(machine.WaitForPowerState(ctx, types.VirtualMachinePowerStatePoweredOff))
}

func checkWaitForIP(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	address, err := machine.WaitForIP(short)
	must(err)
	expect(address != "", "it has no address")
}

func checkSnapshot(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	info := done(ctx)(machine.CreateSnapshot(ctx, "first", "by govmomi", false, true))
	taken, ok := info.Result.(types.ManagedObjectReference)
	expect(ok && taken.Type == "VirtualMachineSnapshot", "the result is %v", info.Result)
	done(ctx)(machine.CreateSnapshot(ctx, "second", "by govmomi", false, false))
	found, err := machine.FindSnapshot(ctx, "first/second")
	must(err)
	expect(found.Type == "VirtualMachineSnapshot", "%v", found)
	tree := properties(ctx, machine, "snapshot").Snapshot.RootSnapshotList
	expect(len(tree) == 1 && tree[0].Snapshot == taken && tree[0].Quiesced, "%+v", tree)
	done(ctx)(machine.RemoveSnapshot(ctx, "first", false, types.NewBool(true)))
	done(ctx)(machine.RemoveSnapshot(ctx, "second", false, types.NewBool(false)))
	held := properties(ctx, machine, "snapshot", "runtime.consolidationNeeded")
	expect(held.Snapshot == nil, "snapshots are left")
	expect(held.Runtime.ConsolidationNeeded != nil && *held.Runtime.ConsolidationNeeded, "nothing is to be consolidated")
	done(ctx)(p.consolidate(ctx, machine))
	held = properties(ctx, machine, "runtime.consolidationNeeded")
	expect(!*held.Runtime.ConsolidationNeeded, "it is to be consolidated still")
	done(ctx)(machine.CreateSnapshot(ctx, "third", "", false, false))
	done(ctx)(machine.RemoveAllSnapshot(ctx, nil))
}

func checkSnapshotRevert(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	done(ctx)(machine.CreateSnapshot(ctx, "back to here", "", false, false))
	before := p.digest(machine, 2001)
	p.guestWrite(machine, 2001, mebibyte, mebibyte, 1)
	expect(p.digest(machine, 2001) != before, "the guest has written nothing")
	done(ctx)(machine.RevertToSnapshot(ctx, "back to here", true))
	expect(p.digest(machine, 2001) == before, "the content is not the snapshot's")
	done(ctx)(machine.RevertToCurrentSnapshot(ctx, true))
	_, err := machine.FindSnapshot(ctx, "no such snapshot")
	expect(err != nil, "what is not there is found")
}

func checkChangedAreas(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	done(ctx)(machine.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(true)}))
	done(ctx)(machine.PowerOn(ctx))
	first := done(ctx)(machine.CreateSnapshot(ctx, "first", "", false, false)).Result.(types.ManagedObjectReference)
	p.guestWrite(machine, 2001, 8*mebibyte, mebibyte, 2)
	second := done(ctx)(machine.CreateSnapshot(ctx, "second", "", false, false)).Result.(types.ManagedObjectReference)
	disk := liveDisks(ctx, machine)[1]
	covered, offset := false, int64(0)
	for offset < disk.CapacityInBytes {
		// The library itself reads the id from the first snapshot.
		page, err := machine.QueryChangedDiskAreas(ctx, &first, &second, disk, offset)
		must(err)
		expect(page.StartOffset == offset && page.Length > 0, "asked for %d, got %d+%d", offset, page.StartOffset, page.Length)
		for _, area := range page.ChangedArea {
			covered = covered || area.Start <= 8*mebibyte && area.Start+area.Length >= 9*mebibyte
		}
		offset += page.Length
	}
	expect(covered, "what was written is in no area")
}

func checkReconfigure(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	done(ctx)(machine.Reconfigure(ctx, types.VirtualMachineConfigSpec{
		NumCPUs: 2, MemoryMB: 512, Annotation: "by govmomi",
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.govmomi", Value: "yes"}},
	}))
	config := properties(ctx, machine, "config").Config
	expect(config.Hardware.NumCPU == 2 && config.Hardware.MemoryMB == 512 && config.Annotation == "by govmomi", "%+v", config)
	value := ""
	for _, option := range config.ExtraConfig {
		if pair := option.GetOptionValue(); pair.Key == "guestinfo.govmomi" {
			value = pair.Value.(string)
		}
	}
	expect(value == "yes", "the extra value is %q", value)
}

// checkDevices goes through the library's own ways of adding, changing and removing devices.
func checkDevices(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	devices, err := machine.Device(ctx)
	must(err)
	controller, err := devices.FindDiskController("")
	must(err)
	expect(len(devices.PrimaryMacAddress()) > 0, "it has no card with an address")
	path := strings.TrimSuffix(properties(ctx, machine, "config.files").Config.Files.VmPathName, ".vmx") + "-govmomi.vmdk"
	disk := devices.CreateDisk(controller, p.datastore.Reference(), path)
	disk.CapacityInKB = 16 * 1024
	must(machine.AddDevice(ctx, disk))
	disks := liveDisks(ctx, machine)
	expect(len(disks) == 3 && disks[2].CapacityInBytes == 16*mebibyte, "it has %d disks", len(disks))
	backing := disks[2].Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	expect(backing.FileName == path && backing.Uuid != "", "%+v", backing)
	disks[2].CapacityInKB = 32 * 1024
	disks[2].CapacityInBytes = 0
	must(machine.EditDevice(ctx, disks[2]))
	disks = liveDisks(ctx, machine)
	expect(disks[2].CapacityInBytes == 32*mebibyte, "it has %d bytes", disks[2].CapacityInBytes)
	must(machine.RemoveDevice(ctx, false, disks[2]))
	expect(len(liveDisks(ctx, machine)) == 2, "the disk is there still")
	_, err = p.datastore.Stat(ctx, strings.SplitN(path, "] ", 2)[1])
	_, gone := err.(object.DatastoreNoSuchFileError)
	expect(gone, "after its removal the file gives %v", err)
	scsi, err := devices.CreateSCSIController("pvscsi")
	must(err)
	must(machine.AddDevice(ctx, scsi))
	references, err := p.finder.NetworkList(ctx, "*")
	must(err)
	network, err := references[0].EthernetCardBackingInfo(ctx)
	must(err)
	card, err := devices.CreateEthernetCard("vmxnet3", network)
	must(err)
	must(machine.AddDevice(ctx, card))
	after, err := machine.Device(ctx)
	must(err)
	expect(len(after) == len(devices)+2, "%d devices, and there were %d", len(after), len(devices))
}

func checkCreate(ctx context.Context, p *peer) {
	machine := p.create(ctx, "made by govmomi's client", 16)
	config := properties(ctx, machine, "config").Config
	disks := disksOf(config.Hardware.Device)
	expect(len(disks) == 1 && disks[0].Key == 2000 && disks[0].CapacityInBytes == 16*mebibyte, "%+v", disks)
	expect(config.Uuid != "" && config.InstanceUuid != "", "it has no uuids")
	_, ok := refused(ctx)(p.folders.VmFolder.CreateVM(ctx, p.newMachineSpec("made by govmomi's client", 16), p.pool, nil)).(*types.DuplicateName)
	expect(ok, "a second one of that name is refused otherwise")
	found, err := p.finder.VirtualMachine(ctx, "made by govmomi's client")
	must(err)
	expect(found.Reference() == machine.Reference(), "%v was found", found)
	done(ctx)(machine.PowerOn(ctx))
}

func checkRegister(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	before := properties(ctx, machine, "config").Config
	must(machine.Unregister(ctx))
	info := done(ctx)(p.folders.VmFolder.RegisterVM(ctx, before.Files.VmPathName, "", false, p.pool, nil))
	back := object.NewVirtualMachine(p.Client.Client, info.Result.(types.ManagedObjectReference))
	after := properties(ctx, back, "config").Config
	expect(after.Uuid == before.Uuid && after.Name == before.Name, "%s came back as %s", before.Uuid, after.Uuid)
	expect(len(disksOf(after.Hardware.Device)) == len(disksOf(before.Hardware.Device)), "disks are lost")
}

func checkClone(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	p.guestWrite(machine, 2001, 0, mebibyte, 3)
	pool := p.pool.Reference()
	spec := types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: &pool}}
	info := done(ctx)(machine.Clone(ctx, p.folders.VmFolder, "cloned by govmomi", spec))
	clone := object.NewVirtualMachine(p.Client.Client, info.Result.(types.ManagedObjectReference))
	expect(p.digest(clone, 2001) == p.digest(machine, 2001), "the content differs")
	expect(clone.UUID(ctx) != machine.UUID(ctx), "the uuids are one")
}

func checkLinkedClone(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	p.guestWrite(machine, 2001, 0, mebibyte, 3)
	taken := done(ctx)(machine.CreateSnapshot(ctx, "of the clone", "", false, false))
	snapshot := taken.Result.(types.ManagedObjectReference)
	digest := p.digest(machine, 2001)
	p.guestWrite(machine, 2001, 0, mebibyte, 4)
	pool := p.pool.Reference()
	child := string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
	spec := types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &pool, DiskMoveType: child},
		Snapshot: &snapshot,
	}
	info := done(ctx)(machine.Clone(ctx, p.folders.VmFolder, "linked by govmomi", spec))
	clone := object.NewVirtualMachine(p.Client.Client, info.Result.(types.ManagedObjectReference))
	expect(p.digest(clone, 2001) == digest, "the content differs")
	for _, disk := range disksOf(properties(ctx, clone, "config").Config.Hardware.Device) {
		backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		expect(backing.Parent != nil, "%s stands on nothing", backing.FileName)
	}
	done(ctx)(machine.Destroy(ctx))
	expect(p.digest(clone, 2001) == digest, "it has lost what it stands on")
}

func checkTemplate(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	must(machine.MarkAsTemplate(ctx))
	is, err := machine.IsTemplate(ctx)
	must(err)
	expect(is, "it is no template")
	must(machine.MarkAsVirtualMachine(ctx, *p.pool, nil))
	is, err = machine.IsTemplate(ctx)
	must(err)
	expect(!is, "it is a template still")
}

func checkRelocate(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	stores, err := p.finder.DatastoreList(ctx, "*")
	must(err)
	held := properties(ctx, machine, "datastore").Datastore
	for _, store := range stores {
		if reference := store.Reference(); reference != held[0] {
			spec := types.VirtualMachineRelocateSpec{Datastore: &reference}
			done(ctx)(machine.Relocate(ctx, spec, types.VirtualMachineMovePriorityDefaultPriority))
			after := properties(ctx, machine, "datastore").Datastore
			expect(len(after) == 1 && after[0] == reference, "it is on %v", after)
			return
		}
	}
	expect(false, "there is one datastore only")
}

func checkRename(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	done(ctx)(machine.Rename(ctx, "renamed by govmomi"))
	name, err := machine.ObjectName(ctx)
	must(err)
	expect(name == "renamed by govmomi", "it is called %s", name)
}

func checkDestroy(ctx context.Context, p *peer) {
	machine := p.machine(ctx, true)
	_, ok := refused(ctx)(machine.Destroy(ctx)).(*types.InvalidPowerState)
	expect(ok, "a machine that is on is destroyed with another fault")
	done(ctx)(machine.PowerOff(ctx))
	done(ctx)(machine.Destroy(ctx))
	_, err := machine.ObjectName(ctx)
	expect(err != nil, "it has a name still")
}
