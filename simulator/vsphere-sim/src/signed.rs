//! Messages that are signed by their sender (WS-Security).
//!
//! Only such as are sent in canonical form, which ours are: what is hashed is what was received. A real server brings any
//! message into that form first.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use vim_api::dynamic::{Binary, Element};
use vim_api::xml::{Limits, Reader, Start, XmlError};

/// What matters of a signed message.
#[derive(Default)]
pub(crate) struct Signed {
    /// The certificate that came with it, as DER.
    pub(crate) certificate: Option<Vec<u8>>,
    /// `Id` of the signature.
    pub(crate) id: String,
    timestamp: String,
    body: String,
    info: String,
    /// Id and digest of each part that the signature is over.
    references: Vec<(String, Vec<u8>)>,
    value: Vec<u8>,
}

impl Signed {
    /// Reads an envelope; one without a signature verifies with no key.
    pub(crate) fn read(envelope: &[u8]) -> Result<Self, XmlError> {
        let mut reader = Reader::new(envelope, Limits::default())?;
        let mut signed = Self::default();
        reader.expect_child("Envelope")?;
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "Header" => {
                    while let Some(header) = reader.next_child()? {
                        match header.local() {
                            "Security" => signed.read_security(&mut reader)?,
                            _ => reader.skip()?,
                        }
                    }
                }
                "Body" => {
                    reader.skip()?;
                    signed.body = reader.since(&part).to_owned();
                }
                _ => reader.skip()?,
            }
        }
        Ok(signed)
    }

    /// Whether the holder of the certificate's key has signed body and timestamp as they came.
    pub(crate) fn is_by(&self, certificate: &[u8]) -> bool {
        let has = |part: &str| {
            let tag = part.split('>').next().unwrap_or_default();
            self.references.iter().any(|(id, hash)| {
                tag.contains(&format!("Id=\"{id}\"")) && digest(&SHA256, part.as_bytes()).as_ref() == hash
            })
        };
        has(&self.timestamp) && has(&self.body) && verifies(certificate, self.info.as_bytes(), &self.value)
    }

    fn read_security(&mut self, reader: &mut Reader<'_>) -> Result<(), XmlError> {
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "Timestamp" => {
                    reader.skip()?;
                    self.timestamp = reader.since(&part).to_owned();
                }
                "BinarySecurityToken" => self.certificate = Some(binary(reader, &part)?),
                "Signature" => {
                    self.id = part.attribute("Id")?.unwrap_or_default().into_owned();
                    self.read_signature(reader)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    }

    fn read_signature(&mut self, reader: &mut Reader<'_>) -> Result<(), XmlError> {
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "SignedInfo" => {
                    while let Some(child) = reader.next_child()? {
                        match child.local() {
                            "Reference" => self.read_reference(reader, &child)?,
                            _ => reader.skip()?,
                        }
                    }
                    self.info = reader.since(&part).to_owned();
                }
                "SignatureValue" => self.value = binary(reader, &part)?,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }

    fn read_reference(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        let target = start.attribute("URI")?.unwrap_or_default();
        let id = target.trim_start_matches('#').to_owned();
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "DigestValue" => {
                    let hash = binary(reader, &part)?;
                    self.references.push((id.clone(), hash));
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

/// Whether the holder of the certificate's key has signed the message.
pub(crate) fn verifies(certificate: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let certificate = CertificateDer::from(certificate);
    let Ok(parsed) = ParsedCertificate::try_from(&certificate) else { return false };
    let info = parsed.subject_public_key_info();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, info.as_ref()).verify(message, signature).is_ok()
}

fn binary(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Vec<u8>, XmlError> {
    Binary::decode(reader, start).map(|binary| binary.0)
}
