//! A machine's console and its questions, of which machines here have neither.

use vim_api::types as t;

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::machine::Power;
use crate::power;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `AnswerVM`, `AcquireTicket` and `AcquireMksTicket`.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let state = shared.read(|world| world.machine(call.this.value()).map(|machine| machine.power));
    let state = state.ok_or_else(|| not_found(&call.this))?;
    match call.method.as_str() {
        "AnswerVM" => {
            let question: String = call.required("questionId")?;
            let _: String = call.required("answerChoice")?;
            Err(invalid_argument("questionId", format!("The machine has not asked \"{question}\".")))
        }
        "AcquireTicket" | "AcquireMksTicket" if state != Power::On => {
            Err(power::wrong_state(Power::On, state))
        }
        "AcquireTicket" => {
            let kind: String = call.required("ticketType")?;
            match kind.as_str() {
                "mks" | "webmks" | "guestControl" | "guestIntegrity" | "webRemoteDevice" | "device" => {
                    Err(no_console())
                }
                other => Err(invalid_argument("ticketType", format!("There is no ticket \"{other}\"."))),
            }
        }
        "AcquireMksTicket" => Err(no_console()),
        _ => Err(method_not_found(call)),
    }
}

fn no_console() -> crate::fault::Fault {
    fault(t::NotSupported::default(), "The machines of this server have no console.")
}
