//! Why a port could not be had, and the ways out, in one line.

use std::{io, net::SocketAddr};

/// For a listener named `name` whose port the flag `flag` sets.
pub fn explain(name: &str, flag: &str, address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    let (why, ways) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            "ports below 1024 need a permission",
            format!(
                "{flag} with a higher port (SDKs need the standard one), `sudo setcap cap_net_bind_service=+ep {}`, \
                 or `sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`",
                binary()
            ),
        ),
        io::ErrorKind::AddrInUse => (
            "another program listens there",
            format!("end it, {flag} with another port, or another loopback address such as --listen-address 127.0.0.2"),
        ),
        io::ErrorKind::AddrNotAvailable => {
            ("this machine has no such address", "--listen-address with one of its own, or 0.0.0.0 for all".to_owned())
        }
        _ => ("the system refuses", format!("{flag} with another port, or another --listen-address")),
    };
    format!("cannot listen on {ip} port {port} for {name}: {why} ({error}). Ways out: {ways}")
}

fn binary() -> String {
    std::env::current_exe().map_or_else(|_| "ironhub".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_one_line_that_names_port_cause_and_flag() {
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        for (kind, words) in [
            (io::ErrorKind::PermissionDenied, ["ip_unprivileged_port_start=443", "setcap"]),
            (io::ErrorKind::AddrInUse, ["another program", "127.0.0.2"]),
            (io::ErrorKind::AddrNotAvailable, ["no such address", "0.0.0.0"]),
        ] {
            let line = explain("HTTPS", "--https-port", address, &kind.into());
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
            assert!(line.contains("127.0.0.1 port 443 for HTTPS") && !line.contains('\n'), "{line}");
        }
    }
}
