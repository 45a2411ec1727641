//! The variables that lead a payload's programs to the way out. Most need none of them: names resolve
//! and addresses answer without. Those that bring a trust store of their own are shown the sandbox's.

use supervisor_api::{ApiError, ErrorCode};
use supervisor_egress::credential::{CredentialName, Vault};
use supervisor_launch::PROXY_PORT;
use supervisor_policy::egress::Egress;

/// The image's roots and the sandbox's own authority, for programs that read one file.
const CERTIFICATES: &str = "/run/ca-certificates.crt";

/// The sandbox's own authority, for programs that add a file to their own roots.
const AUTHORITY: &str = "/run/authority.pem";

/// Variables with a path to a bundle: OpenSSL, Requests, curl, Git, pip, the AWS tools, Cargo, Deno.
const BUNDLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
];

/// Variables with the proxy's address, in both cases: curl reads only the lower one of the first.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];

/// Variables with what is not asked of the proxy.
const LOCAL: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// All of them, and a placeholder for each credential that a binding has in a variable.
pub fn environment(
    egress: &Egress,
    vault: &Vault,
    session: &str,
) -> Result<Vec<(String, String)>, ApiError> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let mut all = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    BUNDLES.iter().for_each(|name| set(name, CERTIFICATES));
    PROXIES.iter().for_each(|name| set(name, &proxy));
    LOCAL.iter().for_each(|name| set(name, "localhost,127.0.0.1,::1"));
    set("NODE_EXTRA_CA_CERTS", AUTHORITY);
    for binding in egress.bindings() {
        let Some(variable) = binding.placeholder() else { continue };
        let credential: CredentialName = binding.credential().parse().map_err(|_| {
            let problem = format!("{:?} can't be a credential's name", binding.credential());
            ApiError::new(ErrorCode::PolicyDenied, problem)
                .with_hint("have the policy's binding corrected")
        })?;
        set(variable, &vault.placeholder(session, &credential).to_string());
    }
    Ok(all)
}
