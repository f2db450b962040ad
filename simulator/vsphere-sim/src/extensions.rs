//! `ExtensionManager`: programs that have made themselves known to the server.

use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::xml::{Limits, Reader, Writer};
use vim_api::{ApiVersion, MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, invalid_argument};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The registered extensions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Extensions {
    known: Vec<Registered>,
    /// What `GetPublicKey` answers: made when it is first asked for.
    server_key: Option<String>,
}

/// An extension, as XML: it has more fields than this server looks at, and all come back as they were given.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registered {
    key: String,
    xml: String,
    /// What it proves itself with: a public key, or a certificate as PEM.
    proof: Option<String>,
}

impl Registered {
    fn new(extension: &t::Extension, proof: Option<String>) -> Self {
        let mut writer = Writer::new(ApiVersion::LATEST);
        extension.encode("extension", &mut writer);
        Self { key: extension.key.clone(), xml: writer.finish(), proof }
    }

    /// `None` only if the file was changed by hand into something else.
    fn read(&self) -> Option<t::Extension> {
        let limits = Limits { max_depth: 32, max_bytes: 4 << 20 };
        let mut reader = Reader::fragment(&self.xml, limits).ok()?;
        let start = reader.next_child().ok()??;
        t::Extension::decode(&mut reader, &start).ok()
    }
}

impl Extensions {
    fn find(&self, key: &str) -> Option<t::Extension> {
        self.known.iter().find(|known| known.key == key).and_then(Registered::read)
    }

    fn all(&self) -> impl Iterator<Item = t::Extension> {
        self.known.iter().filter_map(Registered::read)
    }

    /// Whether an extension has announced tasks of this type.
    pub(crate) fn has_task(&self, id: &str) -> bool {
        self.all().any(|extension| extension.task_list.iter().any(|task| task.task_id == id))
    }
}

impl World {
    /// A property of the manager.
    pub(crate) fn extension_property(&self, name: &str) -> Option<Value> {
        let list = || self.stored.extensions.all().map(|extension| extension.to_value()).collect();
        (name == "extensionList").then(|| Value::array("Extension", list()))
    }

    /// The machines that an extension manages.
    fn managed_by(&self, extension: &str) -> Vec<MoRef> {
        let managed = |machine: &&crate::machine::Machine| {
            let by = machine.config.managed_by.as_ref();
            by.is_some_and(|by| by.extension_key == extension)
        };
        let machines = self.machines().filter(managed);
        machines.map(|machine| MoRef::<mo::VirtualMachine>::new(machine.id.as_str()).cast()).collect()
    }
}

/// Carries a call out.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "FindExtension" => {
            let key: String = call.required("extensionKey")?;
            Ok(Answer::maybe(call, shared.read(|world| world.stored.extensions.find(&key)).as_ref()))
        }
        "RegisterExtension" => {
            let mut extension: t::Extension = call.required("extension")?;
            if extension.key.is_empty() {
                return Err(invalid_argument("extension.key", "An extension has a key."));
            }
            shared.update(|world| {
                if world.stored.extensions.known.iter().any(|known| known.key == extension.key) {
                    let message = format!("The extension \"{}\" is registered already.", extension.key);
                    return Err(invalid_argument("extension.key", message));
                }
                extension.last_heartbeat_time = world.clock.now().date_time();
                world.stored.extensions.known.push(Registered::new(&extension, None));
                world.touch();
                Ok(Answer::void())
            })
        }
        "UpdateExtension" => {
            let mut extension: t::Extension = call.required("extension")?;
            shared.update(|world| {
                extension.last_heartbeat_time = world.clock.now().date_time();
                let known = registered(world, &extension.key)?;
                *known = Registered::new(&extension, known.proof.take());
                world.touch();
                Ok(Answer::void())
            })
        }
        "UnregisterExtension" => {
            let key: String = call.required("extensionKey")?;
            shared.update(|world| {
                registered(world, &key)?;
                world.stored.extensions.known.retain(|known| known.key != key);
                world.touch();
                Ok(Answer::void())
            })
        }
        "GetPublicKey" => Ok(Answer::one(call, &shared.update(server_key)?)),
        "SetPublicKey" => prove(shared, call, "publicKey"),
        "SetExtensionCertificate" => prove(shared, call, "certificatePem"),
        "QueryManagedBy" => {
            let key: String = call.required("extensionKey")?;
            Ok(Answer::many(call, &shared.read(|world| world.managed_by(&key))))
        }
        _ => Err(method_not_found(call)),
    }
}

/// `SetPublicKey` and `SetExtensionCertificate`.
fn prove(shared: &Shared, call: &Call, argument: &str) -> Outcome<Answer> {
    let key: String = call.required("extensionKey")?;
    let Some(proof) = call.optional::<String>(argument)? else {
        // It is that of the connection then, and connections here have none.
        return Err(no_certificate());
    };
    shared.update(|world| {
        registered(world, &key)?.proof = Some(proof);
        world.touch();
        Ok(Answer::void())
    })
}

/// Logins of extensions take a certificate of the client's, which this server does not ask for.
pub(crate) fn no_certificate() -> Fault {
    fault(t::NoClientCertificate::default(), "The connection has no client certificate.")
}

fn registered<'w>(world: &'w mut World, key: &str) -> Outcome<&'w mut Registered> {
    let mut known = world.stored.extensions.known.iter_mut();
    known
        .find(|known| known.key == key)
        .ok_or_else(|| fault(t::NotFound::default(), format!("There is no extension \"{key}\".")))
}

/// Extensions would encrypt for it what only the server shall read. Nothing of the kind is sent here, so its other half is
/// not kept.
fn server_key(world: &mut World) -> Outcome<String> {
    if let Some(key) = &world.stored.extensions.server_key {
        return Ok(key.clone());
    }
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    let key =
        pair.map_err(|error| fault(t::SystemError::default(), format!("No key can be made: {error}")))?;
    let key = key.public_key_pem();
    world.stored.extensions.server_key = Some(key.clone());
    world.touch();
    Ok(key)
}
