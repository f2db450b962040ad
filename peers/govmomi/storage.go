package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

var storageChecks = []check{
	{"datastore_up_and_down", checkUpAndDown},
	{"datastore_stat", checkStat},
	{"datastore_browser", checkBrowser},
	{"file_manager", checkFileManager},
	{"disk_manager", checkDiskManager},
	{"export", checkExport},
	{"export_aborted", checkExportAborted},
	{"import_by_hand", checkImportByHand},
	{"ovf_out_and_in", checkOvf},
}

// consolidate is a call that the library has no shorter way for.
func (p *peer) consolidate(ctx context.Context, machine *object.VirtualMachine) (*object.Task, error) {
	answer, err := methods.ConsolidateVMDisks_Task(ctx, p.Client.Client, &types.ConsolidateVMDisks_Task{This: machine.Reference()})
	if err != nil {
		return nil, err
	}
	return object.NewTask(p.Client.Client, answer.Returnval), nil
}

func checkUpAndDown(ctx context.Context, p *peer) {
	content := make([]byte, mebibyte+17)
	_, err := rand.Read(content)
	must(err)
	upload := soap.DefaultUpload
	upload.ContentLength = int64(len(content))
	must(p.datastore.Upload(ctx, bytes.NewReader(content), "by govmomi.bin", &upload))
	body, length, err := p.datastore.Download(ctx, "by govmomi.bin", nil)
	must(err)
	defer body.Close()
	back, err := io.ReadAll(body)
	must(err)
	expect(length == int64(len(content)) && sha256.Sum256(back) == sha256.Sum256(content), "%d bytes came back of %d", length, len(content))
	// Without a length, so that it is sent in chunks.
	chunked := soap.DefaultUpload
	chunked.ContentLength = -1
	must(p.datastore.Upload(ctx, io.MultiReader(bytes.NewReader(content[:1000])), "in chunks.bin", &chunked))
	info, err := p.datastore.Stat(ctx, "in chunks.bin")
	must(err)
	expect(info.GetFileInfo().FileSize == 1000, "%+v", info)
	scratch, err := os.MkdirTemp("", "peers-govmomi-")
	must(err)
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "file")
	must(p.datastore.DownloadFile(ctx, "by govmomi.bin", file, nil))
	must(p.datastore.UploadFile(ctx, file, "again.bin", nil))
	expect(sha256Of(file) == fmt.Sprintf("%x", sha256.Sum256(content)), "the file's bytes are others")
}

func checkStat(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	path := strings.SplitN(properties(ctx, machine, "config.files").Config.Files.VmPathName, "] ", 2)[1]
	info, err := p.datastore.Stat(ctx, path)
	must(err)
	expect(info.GetFileInfo().FileSize > 0, "%+v", info)
	_, err = p.datastore.Stat(ctx, filepath.Dir(path)+"/nothing")
	_, noFile := err.(object.DatastoreNoSuchFileError)
	expect(noFile, "a file that is not there gives %v", err)
	_, err = p.datastore.Stat(ctx, "no such folder/nothing")
	_, noFolder := err.(object.DatastoreNoSuchDirectoryError)
	expect(noFolder, "a folder that is not there gives %v", err)
	kind, err := p.datastore.Type(ctx)
	must(err)
	expect(kind != "", "the datastore is of no type")
	hosts, err := p.datastore.AttachedHosts(ctx)
	must(err)
	expect(len(hosts) > 0, "no host has the datastore")
}

func checkBrowser(ctx context.Context, p *peer) {
	browser, err := p.datastore.Browser(ctx)
	must(err)
	spec := types.HostDatastoreBrowserSearchSpec{
		MatchPattern: []string{"*.vmdk"},
		Query:        []types.BaseFileQuery{&types.VmDiskFileQuery{}},
		Details:      &types.FileQueryFlags{FileSize: true, FileType: true, Modification: true, FileOwner: types.NewBool(true)},
	}
	info := done(ctx)(browser.SearchDatastoreSubFolders(ctx, p.datastore.Path(""), &spec))
	found, ok := info.Result.(types.ArrayOfHostDatastoreBrowserSearchResults)
	expect(ok, "the result is %T", info.Result)
	disks := 0
	for _, folder := range found.HostDatastoreBrowserSearchResults {
		for _, file := range folder.File {
			_, isDisk := file.(*types.VmDiskFileInfo)
			expect(isDisk && file.GetFileInfo().FileSize > 0, "%T %+v", file, file.GetFileInfo())
			disks++
		}
	}
	expect(disks >= machines, "%d disks were found", disks)
}

func checkFileManager(ctx context.Context, p *peer) {
	manager, folder := object.NewFileManager(p.Client.Client), p.datastore.Path("by govmomi/below")
	must(manager.MakeDirectory(ctx, folder, p.datacenter, true))
	upload := soap.DefaultUpload
	must(p.datastore.Upload(ctx, strings.NewReader("one"), "by govmomi/below/one", &upload))
	done(ctx)(manager.CopyDatastoreFile(ctx, folder+"/one", p.datacenter, folder+"/two", p.datacenter, false))
	_, ok := refused(ctx)(manager.CopyDatastoreFile(ctx, folder+"/one", p.datacenter, folder+"/two", p.datacenter, false)).(*types.FileAlreadyExists)
	expect(ok, "a copy over another file is refused otherwise")
	done(ctx)(manager.MoveDatastoreFile(ctx, folder+"/two", p.datacenter, folder+"/three", p.datacenter, false))
	_, err := p.datastore.Stat(ctx, "by govmomi/below/three")
	must(err)
	done(ctx)(manager.DeleteDatastoreFile(ctx, p.datastore.Path("by govmomi"), p.datacenter))
}

func checkDiskManager(ctx context.Context, p *peer) {
	manager, path, copied := object.NewVirtualDiskManager(p.Client.Client), p.datastore.Path("disk of govmomi.vmdk"), p.datastore.Path("copy of govmomi.vmdk")
	spec := &types.FileBackedVirtualDiskSpec{
		VirtualDiskSpec: types.VirtualDiskSpec{AdapterType: string(types.VirtualDiskAdapterTypeLsiLogic), DiskType: string(types.VirtualDiskTypeThin)},
		CapacityKb:      16 * 1024,
	}
	done(ctx)(manager.CreateVirtualDisk(ctx, path, p.datacenter, spec))
	uuid, err := manager.QueryVirtualDiskUuid(ctx, path, p.datacenter)
	must(err)
	expect(uuid != "", "it has no uuid")
	done(ctx)(manager.CopyVirtualDisk(ctx, path, p.datacenter, copied, p.datacenter, nil, false))
	done(ctx)(manager.MoveVirtualDisk(ctx, copied, p.datacenter, p.datastore.Path("moved by govmomi.vmdk"), p.datacenter, false))
	done(ctx)(manager.DeleteVirtualDisk(ctx, path, p.datacenter))
	done(ctx)(manager.DeleteVirtualDisk(ctx, p.datastore.Path("moved by govmomi.vmdk"), p.datacenter))
	_, ok := refused(ctx)(manager.DeleteVirtualDisk(ctx, path, p.datacenter)).(*types.FileNotFound)
	expect(ok, "a disk that is not there is deleted with another fault")
}

func checkExport(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	p.guestWrite(machine, 2001, 3*mebibyte, 2*mebibyte, 4)
	lease, err := machine.Export(ctx)
	must(err)
	info, err := lease.Wait(ctx, nil)
	must(err)
	expect(len(info.Items) >= 2, "the lease has %d files", len(info.Items))
	scratch, err := os.MkdirTemp("", "peers-govmomi-")
	must(err)
	defer os.RemoveAll(scratch)
	updater := lease.StartUpdater(ctx, info)
	wanted, found := p.digest(machine, 2001), false
	for number, item := range info.Items {
		if !isDisk(info.DeviceUrl[number]) {
			continue
		}
		stream := filepath.Join(scratch, item.Path)
		must(lease.DownloadFile(ctx, stream, item, soap.Download{}))
		head, err := os.ReadFile(stream)
		must(err)
		expect(bytes.HasPrefix(head, []byte("KDMV")), "%s begins with %q", item.Path, head[:4])
		about := qemuImg("info", stream)
		expect(strings.Contains(about, "streamOptimized"), "it is no stream: %s", about)
		if strings.Contains(about, "256 MiB") {
			raw := filepath.Join(scratch, "raw")
			qemuImg("convert", "-f", "vmdk", "-O", "raw", stream, raw)
			expect(sha256Of(raw) == wanted, "the exported bytes are others")
			found = true
		}
	}
	updater.Done()
	expect(found, "the disk of 256 MiB was not there")
	must(lease.GetManifest(ctx))
	must(lease.Complete(ctx))
	expect(lease.Complete(ctx) != nil, "a lease is completed twice")
}

func checkExportAborted(ctx context.Context, p *peer) {
	lease, err := p.machine(ctx, false).Export(ctx)
	must(err)
	info, err := lease.Wait(ctx, nil)
	must(err)
	must(lease.Abort(ctx, nil))
	scratch, err := os.MkdirTemp("", "peers-govmomi-")
	must(err)
	defer os.RemoveAll(scratch)
	err = p.Client.Client.DownloadFile(ctx, filepath.Join(scratch, "file"), info.Items[0].URL, &soap.DefaultDownload)
	expect(err != nil, "what was aborted is served still")
}

// checkImportByHand describes the machine itself, and sends a stream that qemu-img has made.
func checkImportByHand(ctx context.Context, p *peer) {
	scratch, err := os.MkdirTemp("", "peers-govmomi-")
	must(err)
	defer os.RemoveAll(scratch)
	raw, stream := filepath.Join(scratch, "raw"), filepath.Join(scratch, "stream.vmdk")
	content := make([]byte, 24*mebibyte)
	_, err = rand.Read(content[5*mebibyte : 6*mebibyte+512])
	must(err)
	must(os.WriteFile(raw, content, 0o600))
	qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, stream)
	spec := &types.VirtualMachineImportSpec{ConfigSpec: p.newMachineSpec("imported by govmomi", 24)}
	lease, err := p.pool.ImportVApp(ctx, spec, p.folders.VmFolder, nil)
	must(err)
	info, err := lease.Wait(ctx, nil)
	must(err)
	p.send(ctx, lease, info, map[string]string{"": stream})
	machine := object.NewVirtualMachine(p.Client.Client, info.Entity)
	expect(p.digest(machine, 2000) == sha256Of(raw), "the disk's bytes are others")
	done(ctx)(machine.PowerOn(ctx))
}

// checkOvf exports a machine with a descriptor, and imports it by that.
func checkOvf(ctx context.Context, p *peer) {
	source := p.create(ctx, "described by govmomi", 16)
	p.guestWrite(source, 2000, mebibyte, mebibyte, 5)
	scratch, err := os.MkdirTemp("", "peers-govmomi-")
	must(err)
	defer os.RemoveAll(scratch)
	lease, err := source.Export(ctx)
	must(err)
	info, err := lease.Wait(ctx, nil)
	must(err)
	updater := lease.StartUpdater(ctx, info)
	streams, params := map[string]string{}, types.OvfCreateDescriptorParams{Name: "described"}
	for number, item := range info.Items {
		if !isDisk(info.DeviceUrl[number]) {
			continue
		}
		stream := filepath.Join(scratch, item.Path)
		must(lease.DownloadFile(ctx, stream, item, soap.Download{}))
		about, err := os.Stat(stream)
		must(err)
		item.Size = about.Size()
		params.OvfFiles = append(params.OvfFiles, item.File())
		streams[item.Path] = stream
	}
	updater.Done()
	must(lease.Complete(ctx))
	manager := ovf.NewManager(p.Client.Client)
	described, err := manager.CreateDescriptor(ctx, source, params)
	must(err)
	expect(len(described.Error) == 0, "%+v", described.Error)
	envelope, err := ovf.Unmarshal(strings.NewReader(described.OvfDescriptor))
	must(err)
	expect(envelope.VirtualSystem != nil && len(envelope.References) == 1, "the descriptor has %+v", envelope)
	made, err := manager.CreateImportSpec(ctx, described.OvfDescriptor, p.pool, p.datastore, types.OvfCreateImportSpecParams{
		EntityName: "described again by govmomi", DiskProvisioning: string(types.OvfCreateImportSpecParamsDiskProvisioningTypeThin),
	})
	must(err)
	expect(len(made.Error) == 0 && made.ImportSpec != nil && len(made.FileItem) == 1, "%+v", made)
	lease, err = p.pool.ImportVApp(ctx, made.ImportSpec, p.folders.VmFolder, nil)
	must(err)
	info, err = lease.Wait(ctx, made.FileItem)
	must(err)
	expect(len(info.Items) == 1, "%d files are wanted", len(info.Items))
	p.send(ctx, lease, info, streams)
	machine := object.NewVirtualMachine(p.Client.Client, info.Entity)
	expect(p.digest(machine, 2000) == p.digest(source, 2000), "the disk's bytes are others")
}

// send uploads what a lease asks for and completes it. Streams are by the path of an item; one without a name is for any.
func (p *peer) send(ctx context.Context, lease *nfc.Lease, info *nfc.LeaseInfo, streams map[string]string) {
	updater := lease.StartUpdater(ctx, info)
	sent := 0
	for _, item := range info.Items {
		stream, ok := streams[item.Path]
		if !ok {
			if stream, ok = streams[""]; !ok {
				continue
			}
		}
		file, err := os.Open(stream)
		must(err)
		about, err := file.Stat()
		must(err)
		must(lease.Upload(ctx, item, file, soap.Upload{ContentLength: about.Size()}))
		file.Close()
		sent++
	}
	updater.Done()
	expect(sent == len(streams), "%d streams of %d were asked for", sent, len(streams))
	must(lease.Complete(ctx))
}

func isDisk(url types.HttpNfcLeaseDeviceUrl) bool {
	return url.Disk != nil && *url.Disk
}
