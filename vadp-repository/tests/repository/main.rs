//! The repository from outside: what is written is read back, what is damaged is found, what crashes leaves no trace.

mod round_trip;
mod support;
