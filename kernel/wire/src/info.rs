//! What does the kernel say about itself?

use serde_json::{Value, json};

use crate::engine::About;
use crate::session::{Content, PROTOCOL, untyped};

/// Untyped because `jupyter_protocol`'s `KernelInfoReply` has no `supported_features`.
pub(crate) fn reply(about: &About) -> Content {
    let links: Vec<Value> = about
        .help_links
        .iter()
        .map(|(text, url)| json!({"text": text, "url": url}))
        .collect();
    let content = json!({
        "status": "ok",
        "protocol_version": PROTOCOL,
        "implementation": about.implementation,
        "implementation_version": about.version,
        "language_info": {
            "name": "rust",
            "version": about.language_version,
            "mimetype": "text/rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
            "nbconvert_exporter": "",
        },
        "banner": about.banner,
        "debugger": false,
        "help_links": links,
        "supported_features": [],
    });
    untyped("kernel_info_reply", content)
}
