//! A disk's asynchronous requests: carried out at once, or by a thread of the disk, which may call back in another order.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use sim_store::state::FaultEffect;

use crate::code::{Answer, Code};
use crate::library::lock;

/// How long a request that is held back waits for another one.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request: what is to be done, and who is to be told.
pub(crate) struct Request {
    pub(crate) work: Box<dyn FnOnce() -> Answer<()> + Send>,
    pub(crate) tell: Tell,
}

type Tell = Box<dyn FnOnce(Answer<()>) + Send>;

/// The requests of one disk.
pub(crate) struct Queue {
    threaded: bool,
    orders: OnceLock<Sender<Order>>,
    pending: Arc<Pending>,
}

enum Order {
    Carry(Request, Hold),
    Release,
}

#[derive(PartialEq, Eq)]
enum Hold {
    No,
    Back,
}

#[derive(Default)]
struct Pending {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Queue {
    /// Requests are carried out by a thread, or else while they are submitted.
    pub(crate) fn new(threaded: bool) -> Queue {
        Queue { threaded, orders: OnceLock::new(), pending: Arc::default() }
    }

    /// Takes a request. One without a thread has called back when this returns.
    pub(crate) fn submit(&self, request: Request, effect: Option<FaultEffect>) -> Answer<()> {
        let threaded = match effect {
            Some(FaultEffect::Inline) => false,
            Some(FaultEffect::Threaded | FaultEffect::HoldBack) => true,
            _ => self.threaded,
        };
        if !threaded {
            (request.tell)((request.work)());
            return Ok(());
        }
        if self.orders.get().is_none() {
            // A second one, made by a client that races itself, ends at once.
            let _: Result<(), Sender<Order>> = self.orders.set(start(Arc::clone(&self.pending))?);
        }
        let orders = self.orders.get().ok_or(Code::FAIL)?;
        let hold = if effect == Some(FaultEffect::HoldBack) { Hold::Back } else { Hold::No };
        *lock(&self.pending.count) += 1;
        orders.send(Order::Carry(request, hold)).map_err(|_| {
            *lock(&self.pending.count) -= 1;
            Code::FAIL
        })
    }

    /// Waits until every request has called back.
    pub(crate) fn wait(&self) {
        let Some(orders) = self.orders.get() else { return };
        // The thread lives as long as its orders come from here.
        if orders.send(Order::Release).is_err() {
            return;
        }
        let mut count = lock(&self.pending.count);
        while *count > 0 {
            count = self.pending.changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Requests that have not called back yet.
    pub(crate) fn pending(&self) -> usize {
        *lock(&self.pending.count)
    }
}

/// Starts the thread, which ends when the queue is gone and all is done.
fn start(pending: Arc<Pending>) -> Answer<Sender<Order>> {
    let (orders, arriving) = channel();
    let run = move || serve(&arriving, &pending);
    thread::Builder::new().name("fake-vddk-aio".into()).spawn(run).map_err(|_| Code::FAIL)?;
    Ok(orders)
}

fn serve(arriving: &Receiver<Order>, pending: &Pending) {
    let mut held: Vec<(Tell, Answer<()>)> = Vec::new();
    let release = |held: &mut Vec<(Tell, Answer<()>)>| {
        while let Some((tell, answer)) = held.pop() {
            pending.finish(tell, answer);
        }
    };
    loop {
        let order = if held.is_empty() {
            arriving.recv().map_err(RecvTimeoutError::from)
        } else {
            arriving.recv_timeout(PATIENCE)
        };
        match order {
            Ok(Order::Carry(request, hold)) => {
                let answer = (request.work)();
                if hold == Hold::Back {
                    held.push((request.tell, answer));
                } else {
                    pending.finish(request.tell, answer);
                    release(&mut held);
                }
            }
            Ok(Order::Release) | Err(RecvTimeoutError::Timeout) => release(&mut held),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    release(&mut held);
}

impl Pending {
    fn finish(&self, tell: Tell, answer: Answer<()>) {
        tell(answer);
        *lock(&self.count) -= 1;
        self.changed.notify_all();
    }
}
