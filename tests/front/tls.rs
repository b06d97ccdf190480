//! TLS: what is spoken, certificates that change under load, and what is wrong with files.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Certificates, Server, Setup, Wire, command, openssl, run, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn secure(certificates: &Certificates, limits: &str) -> Result<Server> {
    let environment = certificates.environment();
    Server::start_with(Setup { environment, ..Setup::patient_but(limits) }).await
}

fn address(server: &Server) -> Result<&str> {
    server.url().strip_prefix("https://").context("it says https")
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_strong_ciphers_and_nothing_else() -> Result<()> {
    let certificates = Certificates::new().await?;
    let server = secure(&certificates, "").await?;
    let ca = certificates.ca();
    let spoken = async |options: &[&str]| {
        let to = ["s_client", "-connect", address(&server)?, "-verify_return_error", "-CAfile"];
        let folder = std::env::temp_dir();
        openssl(&folder, &[&to[..], &[&ca], options].concat()).await
    };
    let newest = spoken(&["-tls1_3", "-alpn", "h2,http/1.1"]).await?;
    assert!(newest.contains("TLSv1.3") && newest.contains("ALPN protocol: h2"), "{newest}");
    let older = spoken(&["-tls1_2", "-alpn", "http/1.1"]).await?;
    assert!(older.contains("TLSv1.2") && older.contains("protocol: http/1.1"), "{older}");
    assert!(older.contains("ECDHE-ECDSA") && older.contains("Secure Renegotiation IS supported"));
    // What testssl calls weak: old protocols, no forward secrecy, no authenticated encryption.
    for refused in [
        &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:eNULL:NULL@SECLEVEL=0"],
        &["-alpn", "spdy/3"],
    ] {
        assert!(spoken(refused).await.is_err(), "{refused:?}");
    }
    Ok(())
}

/// The curl that everybody has, over both protocols.
#[tokio::test]
async fn curl_is_served_over_http_2_and_over_http_1() -> Result<()> {
    let certificates = Certificates::new().await?;
    let server = secure(&certificates, "").await?;
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let curl = tokio::process::Command::new("curl")
            .args(["-sS", flag, "--cacert", &certificates.ca(), "--json", r#"{"text":"tea"}"#])
            .args(["-w", "\n%{http_version} %{http_code}"])
            .arg(format!("{}/v1/facts", server.url()))
            .output()
            .await
            .context("no curl: run `make proxies`")?;
        let said = String::from_utf8_lossy(&curl.stdout).into_owned();
        assert!(said.ends_with(&format!("\n{version} 201")), "{said}");
    }
    Ok(())
}

/// Callers open a connection for each request while the certificate is replaced again and again,
/// by good ones and by bad ones.
#[tokio::test]
async fn certificates_change_under_load_and_no_request_fails() -> Result<()> {
    let certificates = Certificates::new().await?;
    certificates.issue("next", 200).await?;
    let server = secure(&certificates, "").await?;
    server.over(certificates.client()?).store(json!({ "text": "tea", "fact_id": "a" })).await?;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for _ in 0..4 {
        let caller = server.over(certificates.client()?);
        let (stop, served) = (stop.clone(), served.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.get("/v1/facts/a").await?;
                ensure!(answer.status == 200, "{}", answer.text);
                served.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    let caller = server.over(certificates.client()?);
    let certificate = async || {
        let ready = caller.get("/readyz").await?;
        anyhow::Ok(ready.json["certificate"].clone())
    };
    let first = certificate().await?;
    assert_eq!(first["warning"], Value::Null, "{first}");
    for name in ["next", "server", "next"] {
        let before = served.load(Ordering::Relaxed);
        certificates.serve(name)?;
        let expected = certificate().await?["expires"].clone();
        server.hang_up().await?;
        until("the new certificate is served", async || {
            let expires = certificate().await?["expires"].clone();
            Ok((expires != expected).then_some(()))
        })
        .await?;
        // One that does not belong to the key, and one that is none.
        for bad in [fs::read(certificates.path("server.pem"))?, b"no certificate".to_vec()] {
            let bad = if name == "server" { fs::read(certificates.path("next.pem"))? } else { bad };
            certificates.replace("cert.pem", &bad)?;
            server.hang_up().await?;
            until("the bad file is noticed", async || {
                Ok(certificate().await?["warning"].as_str().map(str::to_owned))
            })
            .await?;
        }
        until("callers are served meanwhile", async || {
            Ok((served.load(Ordering::Relaxed) > before + 20).then_some(()))
        })
        .await?;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    println!("{} requests on as many connections, 0 failed", served.load(Ordering::Relaxed));
    let metrics = caller.get("/metrics").await?.text;
    assert!(
        metrics.contains("kenning_tls_certificate_loads_total{result=\"loaded\"} 3"),
        "{metrics}"
    );
    assert!(metrics.contains("kenning_tls_certificate_loads_total{result=\"refused\"}"));
    assert!(metrics.contains("kenning_tls_certificate_expires_seconds"));
    Ok(())
}

/// No signal: the files are looked at every two seconds.
#[tokio::test]
async fn a_renewed_certificate_is_served_without_being_asked() -> Result<()> {
    let certificates = Certificates::new().await?;
    certificates.issue("next", 200).await?;
    let server = secure(&certificates, "").await?;
    let caller = server.over(certificates.client()?);
    let expires =
        async || anyhow::Ok(caller.get("/readyz").await?.json["certificate"]["expires"].clone());
    let first = expires().await?;
    certificates.serve("next")?;
    until("the new certificate is served", async || Ok((expires().await? != first).then_some(())))
        .await
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_the_start() -> Result<()> {
    let certificates = Certificates::new().await?;
    certificates.issue("other", 100).await?;
    let path = |name: &str| certificates.path(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let home = tempfile::tempdir()?;
    let said = async |arguments: &[&str]| {
        let begin = ["serve", "--check-config", "--embedder", "hash"];
        let ran = run(command(home.path(), &[&begin[..], arguments].concat())?, b"").await?;
        anyhow::Ok((ran.code, ran.err))
    };
    for (arguments, expected) in [
        (&["--tls-cert", &cert][..], "--tls-cert needs --tls-key"),
        (&["--tls-key", &key], "--tls-key needs --tls-cert"),
        (&["--tls-cert", &cert, "--tls-key", &path("other.key")], "does not belong"),
        (&["--tls-cert", &key, "--tls-key", &key], "holds no certificate"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "holds no private key"),
        (&["--tls-cert", "/nowhere/c.pem", "--tls-key", &key], "/nowhere/c.pem: cannot read it"),
    ] {
        let (code, err) = said(arguments).await?;
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
    let (code, err) = said(&["--tls-cert", &cert, "--tls-key", &key]).await?;
    assert_eq!(code, Some(0), "{err}");
    Ok(())
}

#[tokio::test]
async fn plain_http_on_the_port_is_told_to_use_https() -> Result<()> {
    let certificates = Certificates::new().await?;
    let server = secure(&certificates, "").await?;
    let plain = format!("http://{}", address(&server)?);
    let mut wire = Wire::open(&plain).await?;
    wire.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let said = wire.rest().await?;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("use https://"), "{said}");
    let body: Value = serde_json::from_str(said.rsplit("\r\n\r\n").next().unwrap_or_default())?;
    kenning_tests::assert_error_body(&body);
    Ok(())
}

#[tokio::test]
async fn handshakes_that_never_end_shut_nobody_out_and_are_ended() -> Result<()> {
    let certificates = Certificates::new().await?;
    let server = secure(&certificates, "connections = 8\nrequest_ms = 600000").await?;
    let mut silent = Vec::new();
    for round in 0..2 {
        for number in 0..12 {
            let mut socket = TcpStream::connect(address(&server)?).await?;
            // Half of them begin a handshake.
            if number % 2 == 0 {
                socket.write_all(&[22, 3, 1, 2, 0, 1]).await?;
            }
            silent.push(socket);
        }
        until("a caller is served beside them", async || {
            let caller = server.over(certificates.client()?);
            Ok(caller.get("/livez").await.is_ok_and(|answer| answer.status == 200).then_some(round))
        })
        .await?;
    }
    let hasty = secure(&certificates, "connections = 4\nrequest_ms = 300").await?;
    let mut socket = TcpStream::connect(address(&hasty)?).await?;
    socket.write_all(&[22, 3, 1]).await?;
    let mut said = Vec::new();
    // It ends, however it ends.
    let _ = socket.read_to_end(&mut said).await;
    Ok(())
}

#[tokio::test]
async fn the_bounds_on_slow_callers_hold_within_tls() -> Result<()> {
    let certificates = Certificates::new().await?;
    let server = secure(&certificates, "connections = 1\nrequest_ms = 300\nidle_ms = 300").await?;
    // A pooled connection that is idle for too long is closed, and the client opens another.
    let pooled = server.over(certificates.trusting(reqwest::Client::builder())?.build()?);
    until("the pool's connection gives way", async || {
        let other = server.over(certificates.client()?);
        let served = pooled.get("/livez").await.is_ok_and(|answer| answer.status == 200);
        let both = served && other.get("/livez").await.is_ok_and(|answer| answer.status == 200);
        Ok(both.then_some(()))
    })
    .await
}
