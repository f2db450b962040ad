//! Rust names for wire names.

/// `capacityInKB` -> `capacity_in_kb`.
pub(super) fn field(wire: &str) -> String {
    let name = words(wire).iter().map(|w| w.to_lowercase()).collect::<Vec<_>>().join("_");
    match name.as_str() {
        // Taken by the struct's own parts.
        "base" | "extra" => format!("{name}_"),
        // Keywords that cannot be written raw.
        "self" | "super" | "crate" => format!("{name}_"),
        _ if KEYWORDS.contains(&name.as_str()) => format!("r#{name}"),
        _ => name,
    }
}

/// `CreateSnapshotEx_Task` -> `create_snapshot_ex_task`.
pub(super) fn method(wire: &str) -> String {
    field(wire)
}

/// `guestHeartbeatStatus` -> `GUEST_HEARTBEAT_STATUS`.
pub(super) fn constant(wire: &str) -> String {
    words(wire).iter().map(|w| w.to_uppercase()).collect::<Vec<_>>().join("_")
}

/// `vslmVClockInfo` -> `VslmVClockInfo`; all others stay as they are.
pub(super) fn data_type(wire: &str) -> String {
    let mut chars = wire.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `poweredOn` -> `PoweredOn`, `nfs-41` -> `Nfs41`, `3des` -> `V3des`.
pub(super) fn variant(wire: &str) -> String {
    let name: String = wire
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(data_type)
        .collect();
    match name.as_str() {
        "Unrecognized" | "Self" => format!("{name}_"),
        "" => "Empty".to_owned(),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => format!("V{name}"),
        _ => name,
    }
}

/// Words end where a small letter or digit meets a capital, and before the last capital of an acronym: `DNSName` is
/// `DNS`, `Name`. A plural or version mark stays with its acronym: `IPs`, `VMs`.
fn words(wire: &str) -> Vec<String> {
    let chars: Vec<char> = wire.chars().collect();
    let mut out = Vec::new();
    let mut word = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            flush(&mut word, &mut out);
            continue;
        }
        let previous = i.checked_sub(1).map(|p| chars[p]);
        let next = chars.get(i + 1).copied();
        let after = chars.get(i + 2).copied();
        let begins = c.is_ascii_uppercase()
            && previous.is_some_and(|p| {
                let plural = next == Some('s') && after.is_none_or(|a| a.is_ascii_uppercase());
                p.is_ascii_lowercase()
                    || p.is_ascii_digit()
                    || (p.is_ascii_uppercase() && next.is_some_and(|n| n.is_ascii_lowercase()) && !plural)
            });
        if begins {
            flush(&mut word, &mut out);
        }
        word.push(c);
    }
    flush(&mut word, &mut out);
    out
}

fn flush(word: &mut String, out: &mut Vec<String>) {
    if !word.is_empty() {
        out.push(std::mem::take(word));
    }
}

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (wire, rust) in [
            ("capacityInKB", "capacity_in_kb"),
            ("numCPU", "num_cpu"),
            ("hostDNSName", "host_dns_name"),
            ("virtualICH7MPresent", "virtual_ich7_m_present"),
            ("changeTrackingEnabled", "change_tracking_enabled"),
            ("type", "r#type"),
            ("self", "self_"),
            ("base", "base_"),
            ("vPMCEnabled", "v_pmc_enabled"),
            ("ipV6Address", "ip_v6_address"),
            ("maxVMs", "max_vms"),
        ] {
            assert_eq!(field(wire), rust);
        }
        assert_eq!(method("PowerOnVM_Task"), "power_on_vm_task");
        assert_eq!(constant("guestHeartbeatStatus"), "GUEST_HEARTBEAT_STATUS");
    }

    #[test]
    fn variants() {
        for (wire, rust) in
            [("poweredOn", "PoweredOn"), ("nfs-41", "Nfs41"), ("3des", "V3des"), ("Self", "Self_")]
        {
            assert_eq!(variant(wire), rust);
        }
    }
}
