/// Fields that let their holder in, and that the API's own marks of secrets leave out: type and field.
///
/// Each was found by its name among the fields that are not marked.
pub(crate) const UNMARKED: &[(&str, &str)] = &[
    // The password of the user under which a host reaches its datastores.
    ("HostConfigSpec", "datastorePrincipalPasswd"),
    // Blobs that log somebody in to a guest.
    ("SSPIAuthentication", "sspiToken"),
    ("SSPIChallenge", "base64Token"),
    // Proves to a host that a gateway may be trusted.
    ("GatewayToHostTrustVerifyFault", "verificationToken"),
    ("HostGatewaySpec", "trustVerificationToken"),
];

/// Whether a field is a secret although [`FieldInfo::secret`](super::FieldInfo::secret) does not say so.
pub(super) fn is_secret(type_name: &str, field: &str) -> bool {
    UNMARKED.iter().any(|(t, f)| *t == type_name && *f == field)
}
