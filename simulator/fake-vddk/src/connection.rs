//! Logging in.

use std::path::PathBuf;

use sim_store::DatastorePath;
use sim_store::state::{Inventory, ServerRecord, VmRecord};

use crate::code::{Answer, Code};
use crate::faults::Faults;
use crate::ffi::log;
use crate::library::Library;
use crate::strict::{self, Rule};
use crate::transport;

/// What a client said about where and as whom to connect. Strings that were null are absent.
pub(crate) struct Params {
    pub(crate) vm: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) thumbprint: Option<String>,
    pub(crate) login: Login,
    pub(crate) port: u32,
    pub(crate) nfc_port: u32,
    pub(crate) spec: Spec,
    /// What 9.0 takes instead of a thumbprint, in PEM form.
    pub(crate) certificate: Option<String>,
}

/// What newer clients name other than a machine.
pub(crate) enum Spec {
    Machine,
    StorageObject { id: Option<String>, datastore: Option<String>, snapshot: Option<String> },
    Datastore { datastore: Option<String>, folder: Option<String> },
    Other(u32),
}

/// The credentials, by their type.
pub(crate) enum Login {
    Password { user: Option<String>, password: Option<String> },
    Session { cookie: Option<String>, user: Option<String>, key: Option<String> },
    Other(u32),
}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) target: Target,
    pub(crate) read_only: bool,
    pub(crate) faults: Faults,
    /// What a remote one was made with.
    pub(crate) params: Option<Params>,
}

pub(crate) enum Target {
    Local,
    Remote(Box<Remote>),
}

/// A connection to a simulated server.
pub(crate) struct Remote {
    pub(crate) server: Server,
    pub(crate) object: Object,
    pub(crate) snapshot: Option<String>,
    pub(crate) thumbprint: Option<String>,
    pub(crate) certificate: Option<String>,
    /// The transport modes that the client wants, with colons between.
    pub(crate) asked: String,
    pub(crate) nfc_port: u32,
}

/// Whose disks are meant.
pub(crate) enum Object {
    Machine(VmSpec),
    FirstClassDisk(FirstClassDisk),
    /// A folder of a datastore.
    DatastoreFolder(String),
}

/// A first-class disk, or a snapshot of one, as the client names it.
pub(crate) struct FirstClassDisk {
    pub(crate) id: String,
    /// The managed object id of the datastore that it is on.
    pub(crate) datastore: String,
    pub(crate) snapshot: Option<String>,
}

/// A server and a login that it accepted.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) thumbprint: String,
    login: CheckedLogin,
}

enum CheckedLogin {
    Password { user: String, password: String },
    Session { cookie: String },
}

/// A machine, the way the client names it.
pub(crate) enum VmSpec {
    MoRef(String),
    Vmx(DatastorePath),
}

impl Params {
    /// Whether these are for local disks: nothing names a server or a machine.
    pub(crate) fn is_local(&self) -> bool {
        self.vm.is_none() && self.server.is_none()
    }
}

impl Connection {
    /// Connects: the server must be registered in the kit's folder, and the login right. Machine and thumbprint are looked at
    /// when a disk is opened, as the real library does.
    pub(crate) fn open(
        library: &Library,
        params: Option<Params>,
        read_only: bool,
        snapshot: Option<&str>,
        modes: Option<&str>,
    ) -> Answer<Connection> {
        let Some(params) = params.filter(|params| !params.is_local()) else {
            let faults = library.kit().map_or_else(|| Faults::new(None), |kit| library.faults_of(kit));
            faults.suffer("ConnectEx", "")?.settle()?;
            return Ok(Connection { target: Target::Local, read_only, faults, params: None });
        };
        let object = Object::of(&params)?;
        let (server, _) = Server::log_in(library, &params)?;
        let faults = library.faults_of(&server.data_dir);
        faults.suffer("ConnectEx", "")?.settle()?;
        let asked = modes.filter(|modes| !modes.is_empty()).unwrap_or(transport::DEFAULT).to_owned();
        let remote = Remote {
            server,
            object,
            certificate: params.certificate.clone(),
            snapshot: snapshot.map(str::to_owned),
            thumbprint: params.thumbprint.clone(),
            asked,
            nfc_port: if params.nfc_port == 0 { 902 } else { params.nfc_port },
        };
        Ok(Connection { target: Target::Remote(Box::new(remote)), read_only, faults, params: Some(params) })
    }
}

impl Connection {
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.target, Target::Remote(_))
    }
}

impl Object {
    fn of(params: &Params) -> Answer<Object> {
        match &params.spec {
            Spec::Machine => {
                let vm = params.vm.as_deref().ok_or_else(|| missing("vmxSpec"))?;
                VmSpec::parse(vm).map(Object::Machine)
            }
            Spec::StorageObject { id: Some(id), datastore: Some(datastore), snapshot } => {
                Ok(Object::FirstClassDisk(FirstClassDisk {
                    id: id.clone(),
                    datastore: datastore.clone(),
                    snapshot: snapshot.clone().filter(|snapshot| !snapshot.is_empty()),
                }))
            }
            Spec::Datastore { datastore: Some(_), folder: Some(folder) } => {
                Ok(Object::DatastoreFolder(folder.clone()))
            }
            Spec::StorageObject { .. } | Spec::Datastore { .. } => {
                Err(missing("a part of the specification"))
            }
            Spec::Other(number) => {
                log::warn(&format!("a specification of type {number} is not known"));
                Err(Code::INVALID_ARG)
            }
        }
    }
}

impl Server {
    /// Finds the server of `params` and logs in; gives its inventory as of now.
    pub(crate) fn log_in(library: &Library, params: &Params) -> Answer<(Server, Inventory)> {
        let host = params.server.as_deref().ok_or_else(|| missing("serverName"))?;
        let port = if params.port == 0 { 443 } else { params.port };
        let port = u16::try_from(port).map_err(|_| Code::INVALID_ARG)?;
        let login = CheckedLogin::new(&params.login)?;
        let kit = library.kit().ok_or_else(|| {
            log::warn("without libDir no server can be found");
            Code::CANNOT_CONNECT
        })?;
        let record = ServerRecord::load(kit, host, port).map_err(|error| {
            log::warn(&format!("cannot connect to {host}:{port}: {error}"));
            Code::CANNOT_CONNECT
        })?;
        let server = Server {
            host: host.to_owned(),
            data_dir: record.data_dir,
            thumbprint: record.thumbprint_sha1,
            login,
        };
        let inventory = server.inventory()?;
        Ok((server, inventory))
    }

    /// The inventory as of now, if the login still stands.
    pub(crate) fn inventory(&self) -> Answer<Inventory> {
        let inventory = Inventory::load(&self.data_dir).map_err(|error| {
            log::warn(&format!("the inventory of {} cannot be read: {error}", self.host));
            Code::CANNOT_CONNECT
        })?;
        let accepted = match &self.login {
            CheckedLogin::Password { user, password } => inventory.authenticate(user, password).map(|_| ()),
            CheckedLogin::Session { cookie } => inventory.session(cookie).map(|_| ()),
        };
        accepted.map_err(|error| {
            log::warn(&format!("login to {} failed: {error}", self.host));
            Code::of(&error)
        })?;
        Ok(inventory)
    }

    /// Refuses what the login's user has no privilege for on a machine. The server has judged it; how the refusal reads is
    /// for the caller to say.
    pub(crate) fn require(
        &self,
        inventory: &Inventory,
        machine: &VmRecord,
        privilege: &str,
        refusal: Code,
    ) -> Answer<()> {
        let user = match &self.login {
            CheckedLogin::Password { user, .. } => user,
            CheckedLogin::Session { cookie } => {
                &inventory.session(cookie).map_err(|error| Code::of(&error))?.user
            }
        };
        if inventory.allows(user, &machine.moref, privilege) {
            return Ok(());
        }
        log::warn(&format!("{user} lacks the privilege {privilege} on {}", machine.moref));
        Err(refusal)
    }
}

impl CheckedLogin {
    fn new(login: &Login) -> Answer<CheckedLogin> {
        match login {
            Login::Password { user: Some(user), password: Some(password) } => {
                Ok(CheckedLogin::Password { user: user.clone(), password: password.clone() })
            }
            Login::Session { cookie: Some(cookie), user: Some(_), key: Some(_) } => {
                Ok(CheckedLogin::Session { cookie: cookie_value(cookie).to_owned() })
            }
            Login::Password { .. } | Login::Session { .. } => Err(missing("a credential")),
            Login::Other(kind) => {
                log::warn(&format!("credentials of type {kind} are not supported"));
                Err(Code::NOT_SUPPORTED)
            }
        }
    }
}

impl VmSpec {
    /// Reads `moref=vm-16` or `folder/vm.vmx?dcPath=DC&dsName=store`.
    pub(crate) fn parse(text: &str) -> Answer<VmSpec> {
        if let Some(moref) = text.strip_prefix("moref=") {
            return Ok(VmSpec::MoRef(moref.to_owned()));
        }
        let store =
            |query: &str| query.split('&').find_map(|pair| pair.strip_prefix("dsName=").map(str::to_owned));
        let parts = text.split_once('?').and_then(|(path, query)| Some((path, store(query)?)));
        let path = parts.and_then(|(path, store)| DatastorePath::new(&store, path).ok());
        path.map(VmSpec::Vmx).ok_or_else(|| {
            log::warn(&format!("{text:?} names no machine"));
            Code::INVALID_ARG
        })
    }

    /// The machine in the inventory.
    pub(crate) fn find<'a>(&self, inventory: &'a Inventory) -> Answer<&'a VmRecord> {
        let found = match self {
            VmSpec::MoRef(moref) => inventory.vm(moref),
            VmSpec::Vmx(path) => inventory.vm_by_vmx(path),
        };
        found.map_err(|error| {
            log::warn(&error.to_string());
            Code::OBJECT_NOT_FOUND
        })
    }
}

/// The bare value of a cookie, which clients hand over in several dresses: with its name, quotes or attributes.
fn cookie_value(cookie: &str) -> &str {
    let value = cookie.strip_prefix("vmware_soap_session=").unwrap_or(cookie);
    value.split(';').next().unwrap_or(value).trim().trim_matches('"')
}

/// Something is NULL that the real library would follow.
pub(crate) fn missing(what: &str) -> Code {
    strict::broken(Rule::NullParameters, format_args!("{what} is NULL"));
    Code::INVALID_ARG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_in_two_ways() {
        assert!(matches!(VmSpec::parse("moref=vm-1"), Ok(VmSpec::MoRef(moref)) if moref == "vm-1"));
        let Ok(VmSpec::Vmx(path)) = VmSpec::parse("web/web.vmx?dcPath=DC&dsName=ds 1") else {
            panic!("the old form was refused")
        };
        assert_eq!(path.to_string(), "[ds 1] web/web.vmx");
        assert!(VmSpec::parse("web").is_err());
    }

    #[test]
    fn cookies_are_undressed() {
        for dressed in ["52ab", "\"52ab\"", "vmware_soap_session=\"52ab\"; Path=/; HttpOnly; Secure;"] {
            assert_eq!(cookie_value(dressed), "52ab");
        }
    }
}
