//! The form that logs in.
use super::layout::token;
use super::shown::prose;
use maud::{Markup, html};

/// `wrong`: why the last try was refused.
pub fn form(next: &str, csrf: &str, wrong: Option<&str>) -> Markup {
    html! {
        section .login {
            h1 { "Log in" }
            form method="post" action="/login" {
                (token(csrf))
                input type="hidden" name="next" value=(next);
                label for="key" { "API key" }
                input type="password" id="key" name="key" required autocomplete="current-password" autocapitalize="off" spellcheck="false"
                    maxlength="1024" autofocus aria-describedby="key-help" aria-invalid=[wrong.map(|_| "true")];
                @if let Some(wrong) = wrong { p .wrong role="alert" { (prose(wrong)) } }
                p .quiet id="key-help" {
                    "On the daemon's machine " code { "honeyguide keys create" } " makes one. The browser keeps a session that ends after 12 "
                    "hours without use, and not the key."
                }
                button .primary { "Log in" }
            }
        }
    }
}
