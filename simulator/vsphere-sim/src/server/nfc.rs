//! `/nfc/`: the files of leases. An address is its own permit: no cookie is asked for, and none given out.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use tokio::sync::mpsc;

use super::http::{Answered, Response, plain};
use crate::faults::{Asked, Endpoint};
use crate::lease::Way;
use crate::lease::transfer::{self, Failure, Piece, Refusal, Transfer, WAITING};
use crate::world::Shared;

/// What a disk travels as.
const STREAM: &str = "application/x-vnd.vmware-streamVmdk";

/// A client that is refused may go on sending before it looks at the answer. So much of it is listened to.
const PATIENCE: usize = 64 << 20;

/// Answers a request. A range is not looked at: the whole file comes, from its beginning.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    match open(shared, &head) {
        Ok((transfer, Way::Out)) => Ok(send(shared, transfer)),
        Ok((transfer, Way::In)) => {
            let overwrite = head.headers.get("overwrite").map(HeaderValue::as_bytes);
            let overwrite = overwrite.is_some_and(|value| value.eq_ignore_ascii_case(b"t"));
            Ok(receive(shared, transfer, body, overwrite).await)
        }
        Err(response) => {
            pass_over(body).await;
            Ok(*response)
        }
    }
}

/// The file that a request is about, or the answer that it gets instead.
fn open(shared: &Arc<Shared>, head: &Parts) -> Result<(Transfer, Way), Box<Response>> {
    let way = match head.method {
        Method::GET => Way::Out,
        Method::POST | Method::PUT => Way::In,
        _ => return Err(Box::new(not_allowed("GET, POST, PUT"))),
    };
    let named = head.uri.path().strip_prefix("/nfc/").and_then(|rest| rest.split_once('/'));
    let (token, name) = named.ok_or_else(|| Box::new(refused(Refusal::Unknown)))?;
    shared.update_if(|world| world.settle_leases());
    if way == Way::In
        && let Some(is_disk) = shared.read(|world| world.upload_is_disk(token, name))
        && let Some(response) = unfit(is_disk, &head.method, &head.headers)
    {
        return Err(Box::new(response));
    }
    let (method, object) = (head.method.as_str(), head.uri.path());
    let planned = shared.faults.plan_lease(&Asked { endpoint: Endpoint::Nfc, method, object, user: None });
    let transfer = shared.update(|world| world.begin_transfer(token, name, way, planned));
    transfer.map(|transfer| (transfer, way)).map_err(|refusal| Box::new(refused(refusal)))
}

/// Most clients look at an answer only when they have sent everything.
async fn pass_over(mut body: Incoming) {
    let mut passed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        passed += frame.data_ref().map_or(0, Bytes::len);
        if passed > PATIENCE {
            return;
        }
    }
}

/// What is wrong with an upload before a byte of it came.
fn unfit(disk: bool, method: &Method, headers: &HeaderMap) -> Option<Response> {
    if !disk {
        return (*method != Method::PUT).then(|| not_allowed("PUT"));
    }
    if *method != Method::POST {
        return Some(not_allowed("POST"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    (!kind.eq_ignore_ascii_case(STREAM)).then(|| {
        let message = format!("A disk is taken as {STREAM} only, and not as \"{kind}\".");
        text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    })
}

fn send(shared: &Arc<Shared>, transfer: Transfer) -> Response {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let (is_disk, size) = (transfer.is_disk(), transfer.size());
    let worker = Arc::clone(shared);
    // Ends by itself: when all is sent, or when nobody takes it any more.
    drop(tokio::task::spawn_blocking(move || transfer::send(&worker, &transfer, &sender)));
    let frames = stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    });
    let mut response = hyper::Response::new(StreamBody::new(frames).boxed());
    let kind = if is_disk { STREAM } else { "application/octet-stream" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(size) = size {
        response.headers_mut().insert(CONTENT_LENGTH, size.into());
    }
    response
}

async fn receive(shared: &Arc<Shared>, transfer: Transfer, mut body: Incoming, overwrite: bool) -> Response {
    let (sender, pieces) = mpsc::channel(WAITING);
    let (worker, is_disk, mut over) = (Arc::clone(shared), transfer.is_disk(), transfer.over());
    let received =
        tokio::task::spawn_blocking(move || transfer::receive(&worker, &transfer, pieces, overwrite));
    let whole = loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            // A client that sends nothing more must not keep the machine from being removed.
            _ = over.wait_for(|over| *over) => break false,
        };
        match frame {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                // Nobody listens when the upload has failed.
                if sender.send(Piece::Data(data)).await.is_err() {
                    break false;
                }
            }
        }
    };
    if whole {
        // As above.
        let _ = sender.send(Piece::End).await;
    }
    drop(sender);
    let received = received.await;
    pass_over(body).await;
    match received {
        Ok(Ok(())) if is_disk => text(StatusCode::OK, ""),
        Ok(Ok(())) => text(StatusCode::CREATED, ""),
        Ok(Err(failure)) => failed(failure),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("The upload died: {error}")),
    }
}

fn failed(failure: Failure) -> Response {
    match failure {
        Failure::Lost => text(StatusCode::BAD_REQUEST, "The connection broke off."),
        Failure::Over => refused(Refusal::Over),
        Failure::Exists => {
            text(StatusCode::CONFLICT, "There is such a file, and no header says \"Overwrite: t\".")
        }
        Failure::Content(what) => text(StatusCode::BAD_REQUEST, what),
        Failure::Storage(fault) if fault.fault.is::<vim_api::types::NoDiskSpace>() => {
            text(StatusCode::INSUFFICIENT_STORAGE, fault.message)
        }
        Failure::Storage(fault) => text(StatusCode::INTERNAL_SERVER_ERROR, fault.message),
    }
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Unknown => text(StatusCode::NOT_FOUND, "There is no such lease, or it has no such file."),
        Refusal::Over => text(StatusCode::GONE, "The lease has ended."),
        Refusal::WrongWay(Way::Out) => not_allowed("GET"),
        Refusal::WrongWay(Way::In) => not_allowed("POST, PUT"),
        Refusal::Busy => text(StatusCode::CONFLICT, "This file is being sent already."),
    }
}

fn not_allowed(allowed: &'static str) -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Only {allowed} will do here."));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, what: impl Into<String>) -> Response {
    plain(status, "text/plain; charset=utf-8", what.into())
}
