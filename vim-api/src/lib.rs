//! The whole vSphere SOAP API, typed, with a client.
