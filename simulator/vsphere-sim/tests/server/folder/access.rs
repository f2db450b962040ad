//! Sessions, passwords and tickets.

use std::time::Duration;

use vim_api::dynamic::Poly;
use vim_api::{mo, types as t};
use vsphere_sim::{Endpoint, FaultPlace, FaultRule};

use super::{ask, basic, url};
use crate::{log_in, start};

#[tokio::test]
async fn a_password_begins_a_session_whose_cookie_is_taken_in_any_form() {
    let sim = start(1).await;
    let vmx = url("vm-1/vm-1.vmx");
    for headers in
        ["", "Cookie: \r\n", "Cookie: vmware_soap_session=\"0123\"\r\n", "Authorization: Bearer x\r\n"]
    {
        let denied = ask(&sim, "GET", &vmx, headers, b"").await;
        assert_eq!(denied.status, 401, "{headers}");
        assert!(denied.header("www-authenticate").unwrap().starts_with("Basic realm="), "{}", denied.head);
        assert!(denied.header("set-cookie").is_none());
    }
    // Nobody learns what is there without a password.
    assert_eq!(ask(&sim, "GET", "/folder/%ff", "", b"").await.status, 401);
    for (user, password) in [("me", "wrong"), (sim.user(), "wrong"), (sim.user(), "")] {
        let pair =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"));
        let denied = ask(&sim, "GET", &vmx, &format!("Authorization: Basic {pair}\r\n"), b"").await;
        assert_eq!(denied.status, 401);
    }
    assert_eq!(sim.session_count(), 0);

    // As virt-v2v begins.
    let answer = ask(&sim, "HEAD", &vmx, &basic(&sim), b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(sim.session_count(), 1);
    let given = answer.header("set-cookie").unwrap();
    let value = given.strip_prefix("vmware_soap_session=\"").unwrap().split_once('"').unwrap().0;
    assert!(value.len() == 40 && given.ends_with("; Path=/; HttpOnly; Secure"), "{given}");
    for cookie in [
        format!("vmware_soap_session={value}"),
        format!("vmware_soap_session=\"{value}\""),
        format!("a=b; vmware_soap_session=\"{value}\"; $Path=/"),
        given.to_owned(),
    ] {
        let answer = ask(&sim, "GET", &vmx, &format!("Cookie: {cookie}\r\n"), b"").await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{cookie}");
        assert!(answer.text().contains("displayName = \"vm-1\""), "{}", answer.text());
    }
    assert_eq!(sim.session_count(), 1);
    sim.expire_sessions();
    let cookie = format!("Cookie: {given}\r\n");
    assert_eq!(ask(&sim, "GET", &vmx, &cookie, b"").await.status, 401);
    let renewed = ask(&sim, "GET", &vmx, &format!("{cookie}{}", basic(&sim)), b"").await;
    assert!(renewed.status == 200 && renewed.header("set-cookie").is_some());
}

#[tokio::test]
async fn asking_for_files_keeps_a_session_alive() {
    let sim = start(1).await;
    let session = super::session(&sim).await;
    for _ in 0..3 {
        sim.advance_clock(Duration::from_secs(20 * 60));
        assert_eq!(ask(&sim, "HEAD", &url("vm-1/vm-1.vmx"), &session, b"").await.status, 200);
    }
    sim.advance_clock(Duration::from_secs(31 * 60));
    assert_eq!(ask(&sim, "HEAD", &url("vm-1/vm-1.vmx"), &session, b"").await.status, 401);
}

#[tokio::test]
async fn a_ticket_is_good_for_one_request_and_not_for_long() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let manager: mo::SessionManager = client.bind(&client.content().session_manager.clone().unwrap());
    let vmx = url("vm-1/vm-1.vmx");
    let acquire = async |method: Option<&str>, url: &str| {
        let spec = t::SessionManagerHttpServiceRequestSpec {
            method: method.map(str::to_owned),
            url: url.to_owned(),
            ..Default::default()
        };
        let ticket = manager.acquire_generic_service_ticket(&Poly::new(spec)).await?;
        Ok::<_, vim_api::Error>(format!("Cookie: vmware_cgi_ticket=\"{}\"\r\n", ticket.id))
    };
    let status =
        async |method: &str, url: &str, cookie: &str| ask(&sim, method, url, cookie, b"").await.status;

    let ticket = acquire(Some("httpGet"), &format!("https://anywhere:443{vmx}")).await.unwrap();
    assert_eq!(status("GET", &url("vm-1/vm-1.vmdk"), &ticket).await, 401, "another file");
    assert_eq!(status("GET", "/folder/vm-1/vm-1.vmx?dcPath=DC1&dsName=datastore1", &ticket).await, 401);
    assert_eq!(status("DELETE", &vmx, &ticket).await, 401, "another method");
    // The same file, written in another way.
    assert_eq!(status("GET", "/folder/vm%2D1/vm-1.vmx?dsName=datastore1&dcPath=DC0", &ticket).await, 200);
    assert_eq!(status("GET", &vmx, &ticket).await, 401, "used up");

    let put = acquire(Some("httpPut"), &url("new.bin")).await.unwrap();
    assert_eq!(status("GET", &url("new.bin"), &put).await, 401);
    assert_eq!(status("PUT", &url("new.bin"), &put).await, 201);
    let any = acquire(None, &vmx).await.unwrap();
    assert_eq!(status("HEAD", &vmx, &any).await, 200);
    let old = acquire(None, &vmx).await.unwrap();
    sim.advance_clock(Duration::from_secs(121));
    assert_eq!(status("GET", &vmx, &old).await, 401, "too old");

    let nowhere = acquire(None, "https://host/cgi-bin/vm-support.cgi").await.unwrap_err();
    assert!(nowhere.fault::<t::InvalidArgument>().is_some(), "{nowhere}");
    let plain = Poly::new(t::SessionManagerServiceRequestSpec::default());
    let refused = manager.acquire_generic_service_ticket(&plain).await.unwrap_err();
    assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
}

#[tokio::test]
async fn fault_rules_strike_files_too() {
    let sim = start(1).await;
    let session = super::session(&sim).await;
    let rule = FaultRule {
        endpoint: Endpoint::Folder,
        method: "*".to_owned(),
        object: Some("/folder/vm-1/vm-1.vmx".to_owned()),
        at: FaultPlace::Http,
        status: Some(503),
        ..FaultRule::default()
    };
    sim.add_fault(rule.times(1, 1)).unwrap();
    assert_eq!(ask(&sim, "GET", &url("vm-1/vm-1.vmdk"), &session, b"").await.status, 200);
    let busy = ask(&sim, "GET", &url("vm-1/vm-1.vmx"), &session, b"").await;
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
    assert_eq!(ask(&sim, "GET", &url("vm-1/vm-1.vmx"), &session, b"").await.status, 200);
}
