//! The extra configuration: options by name, of which most mirror settings, belong to the host, or are of the moment.
//!
//! The server ignores an option that is a setting as well, and takes others at their word: a stale reference to a file of change tracking, a
//! uuid, a key that it cannot open. So each is judged by its name. Names are compared without regard to case.

use super::{Draft, Identity};
use crate::capture::{Loss, Verdict};
use vim_api::dynamic::Poly;

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is sent.
    Kept,
    /// It is a setting that is sent otherwise, or the server's.
    Servers,
    /// It is sent with the PCI slots, or not at all.
    WithSlots,
    /// It is sent with the key that encrypts the machine, or not at all.
    WithKey,
    /// It is not sent, and missed.
    Lost(&'static str),
}

use Fate::{Kept, Lost, Servers, WithKey, WithSlots};

/// `#` stands for digits, `*` for anything. The first that fits decides. What fits none is kept, with a note.
const OPTIONS: &[(&str, Fate)] = &[
    // What is kept although a later line would take it.
    ("sched.mem.pshare.*", Kept),
    ("sched.mem.lpage.*", Kept),
    ("sched.cpu.vsmpconsolidate", Kept),
    ("sched.swap.vmxswapenabled", Kept),
    ("ethernet#.coalescingscheme", Kept),
    ("ethernet#.ctxperdev", Kept),
    ("ethernet#.pnicfeatures", Kept),
    ("ethernet#.filter#.*", Kept),
    ("scsi#.reqcallthreshold", Kept),
    ("pcipassthru.use64bitmmio", Kept),
    ("pcipassthru.64bitmmiosizegb", Kept),
    ("pcipassthru#.cfg.*", Kept),
    ("hpet0.present", Kept),
    ("vmci.filter.*", Kept),
    // Files.
    ("nvram", Servers),
    ("extendedconfigfile", Servers),
    (".encoding", Servers),
    ("config.version", Servers),
    ("virtualhw.*", Servers),
    ("displayname", Servers),
    ("guestos", Servers),
    ("annotation", Servers),
    ("firmware", Servers),
    ("memsize", Servers),
    ("numvcpus", Servers),
    ("cpuid.corespersocket", Servers),
    // Identity.
    ("uuid.*", Servers),
    ("vc.uuid", Servers),
    ("vm.genid", Servers),
    ("vm.genidx", Servers),
    ("vm.createdate", Servers),
    ("viv.moid", Servers),
    ("scsi#.saswwid", Servers),
    ("ethernet#.address*", Servers),
    ("ethernet#.generatedaddress*", Servers),
    ("wwn.*", Servers),
    // Slots.
    ("*.pcislotnumber", WithSlots),
    ("pcibridge#.*", WithSlots),
    // Change tracking is a setting.
    ("ctkenabled", Servers),
    ("*.ctkenabled", Servers),
    ("changetrackpath", Servers),
    // Mirrors of devices and of reservations.
    ("scsi#*", Servers),
    ("sata#*", Servers),
    ("ide#*", Servers),
    ("nvme#*", Servers),
    ("floppy#*", Servers),
    ("ethernet#*", Servers),
    ("usb.*", Servers),
    ("usb:#*", Servers),
    ("usb_xhci*", Servers),
    ("ehci*", Servers),
    ("sound*", Servers),
    ("serial#*", Servers),
    ("parallel#*", Servers),
    ("vmci#*", Servers),
    ("vtpm.*", Servers),
    ("svga.*", Servers),
    ("pcipassthru#*", Servers),
    ("sched.*", Servers),
    // The moment's.
    ("migrate.*", Servers),
    ("vmotion.*", Servers),
    ("checkpoint.*", Servers),
    ("monitor.phys_bits_used", Servers),
    ("cleanshutdown", Servers),
    ("softpoweroff", Servers),
    ("replay.*", Servers),
    ("evccompatibilitymode", Servers),
    ("hostcpuid.*", Servers),
    ("guestcpuid.*", Servers),
    ("usercpuid.*", Servers),
    ("numa.autosize.*", Servers),
    ("vmxstats.filename", Servers),
    ("chipset.onlinestandby", Servers),
    ("powertype.*", Servers),
    ("toolscripts.*", Servers),
    ("vmware.tools.*", Servers),
    ("toolsinstallmanager.*", Servers),
    ("tools.*", Servers),
    ("guestinfo.ovfenv", Servers),
    ("guestinfo.vmtools.*", Servers),
    ("guestinfo.detailed.data", Servers),
    ("guestinfo.ip", Servers),
    ("guestinfo.appinfo", Servers),
    // Of a machine that was half made itself.
    ("vadp.recovery", Servers),
    // Encryption.
    ("encryption.*", WithKey),
    ("encryptedvm.guid", WithKey),
    ("datafilekey", WithKey),
    // Replication and fault tolerance.
    ("hbr_filter.*", Lost("replication is set up anew")),
    ("ftcpt.*", Lost("fault tolerance is set up anew")),
    ("sharedft*", Lost("fault tolerance is set up anew")),
    // The console.
    ("remotedisplay.maxconnections", Servers),
    ("remotedisplay.vnc.*", Lost("its port and password belong to another machine")),
    // What is a person's own.
    ("guestinfo.*", Kept),
    ("isolation.*", Kept),
    ("log.*", Kept),
    ("disk.*", Kept),
    ("mainmem.*", Kept),
    ("prefvmx.*", Kept),
    ("mks.*", Kept),
    ("monitor_control.*", Kept),
    ("hypervisor.cpuid.*", Kept),
    ("cpuid.*", Kept),
    ("featmask.vm.*", Kept),
    ("numa.*", Kept),
    ("time.*", Kept),
    ("rtc.*", Kept),
    ("efi.*", Kept),
    ("bios.*", Kept),
    ("smbios.*", Kept),
    ("board-id*", Kept),
    ("hw.model*", Kept),
    ("serialnumber*", Kept),
];

impl Draft<'_> {
    pub(super) fn extra_config(&mut self) {
        for option in &self.config.extra_config {
            let key = option.key.to_lowercase();
            let row = OPTIONS.iter().find(|(pattern, _)| fits(pattern.as_bytes(), key.as_bytes()));
            let is_kept = match row.map(|(_, fate)| *fate) {
                Some(Kept) => true,
                Some(Servers) => false,
                Some(WithSlots) => self.late.keeps_slots,
                Some(WithKey) => self.design.keep_key,
                Some(Lost(why)) => {
                    self.losses.push(Loss::new(format!("option {}", option.key), Verdict::Lost, why));
                    false
                }
                None => {
                    let note = format!("the option {} is kept: this program does not know it", option.key);
                    self.notes.push(note);
                    true
                }
            };
            if is_kept {
                self.create.extra_config.push(Poly::clone(option));
            }
            let tells_identity =
                ["guestinfo.userdata", "guestinfo.metadata"].iter().any(|of| key.starts_with(of));
            if self.design.identity == Identity::Copy && tells_identity {
                self.notes.push(format!(
                    "{} tells the guest who it is, and that is the old machine: look at it before the copy runs",
                    option.key
                ));
            }
        }
        // A guest that is moved by its host would be asked who it is.
        if self.design.identity == Identity::Copy {
            self.create.extra_config.push(super::option("uuid.action", "create"));
        }
    }
}

fn fits(pattern: &[u8], key: &[u8]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=key.len()).any(|at| key.get(at..).is_some_and(|key| fits(rest, key))),
        (Some((b'#', rest)), Some((digit, left))) if digit.is_ascii_digit() => {
            fits(rest, left) || fits(pattern, left)
        }
        (Some((wanted, rest)), Some((found, left))) => wanted == found && fits(rest, left),
        _ => false,
    }
}
