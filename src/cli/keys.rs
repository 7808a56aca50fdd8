//! `honeyguide keys`: who may ask the daemon from elsewhere than its socket.
use super::args::{self, KeysAction};
use super::client::Target;
use super::context::{Context, Exit, Usage, us};
use super::print;
use super::terminal::{Align, Colour, Output, Table, escape};
use crate::access::keys::{KeyRow, KeysError, NewKey};
use crate::admin::keys::{KeyMade, Rotation};
use crate::admin::sinks::Nothing;
use crate::events::time;
use std::io::Write;

pub fn run(args: &args::Keys, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Keys, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let target = Target::find(&context.settings()?)?;
    match &args.action {
        KeysAction::Create { name, roles, sensors, expires } => {
            let new = NewKey { name: name.clone(), roles: roles.clone(), sensors: sensors.clone(), expires: *expires };
            let made = match &target {
                Target::Daemon(client) => client.post(&["api", "v1", "keys"], &new)?,
                Target::Local(open) => KeyMade::new(open.keys.create(&new, &us(), time::now()).map_err(wrong)?),
            };
            context.tell(&made, |output| shown(&made, output), out)?;
        }
        KeysAction::List => {
            let rows: Vec<KeyRow> = match &target {
                Target::Daemon(client) => client.get(&["api", "v1", "keys"], &[], None)?,
                Target::Local(open) => open.keys.list(time::now()),
            };
            context.tell(&rows, |output| list(&rows, output), out)?;
        }
        KeysAction::Revoke { id } => {
            let row: KeyRow = match &target {
                Target::Daemon(client) => client.post(&["api", "v1", "keys", id, "revoke"], &Nothing {})?,
                Target::Local(open) => open.keys.revoke(id, &us(), time::now()).map_err(wrong)?,
            };
            let text = format!("revoked: the key {} ({}) and its tokens are refused from now on\n", escape(&row.id), escape(&row.name));
            context.tell(&row, |_| text, out)?;
        }
        KeysAction::Rotate { id, overlap } => {
            let rotation = Rotation { overlap: Some(overlap.clone()) };
            let made = match &target {
                Target::Daemon(client) => client.post(&["api", "v1", "keys", id, "rotate"], &rotation)?,
                Target::Local(open) => {
                    let overlap =
                        rotation.overlap_or_default().ok_or_else(|| Usage("--overlap: give a time such as 1h, 7d or 0s".into()))?;
                    KeyMade::new(open.keys.rotate(id, overlap, &us(), time::now()).map_err(wrong)?)
                }
            };
            context.tell(&made, |output| shown(&made, output), out)?;
        }
    }
    Ok(Exit::Done)
}

fn wrong(error: KeysError) -> anyhow::Error {
    if error.is_usage() { Usage(error.to_string()).into() } else { error.into() }
}

fn roles(row: &KeyRow) -> String {
    row.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}

fn sensors(row: &KeyRow) -> String {
    if row.sensors.is_empty() { "all".to_owned() } else { row.sensors.join(", ") }
}

fn moment(time: Option<&String>, none: &str) -> String {
    time.map_or(none.to_owned(), |time| time.get(..16).unwrap_or(time).replace('T', " "))
}

fn shown(made: &KeyMade, output: &Output) -> String {
    let row = &made.row;
    let until = row.expires_at.as_ref().map_or("for ever".to_owned(), |_| format!("until {} UTC", moment(row.expires_at.as_ref(), "")));
    let about = format!("key {} ({}): {}; sensors: {}; {until}", row.name, row.id, roles(row), sensors(row));
    let before = match &row.previous_until {
        Some(_) => format!("The secret before is good until {} UTC.\n", moment(row.previous_until.as_ref(), "")),
        None => String::new(),
    };
    let warning = "This is shown once and kept nowhere: put it where only its user can read it. Whoever has it may what it may.";
    format!("{}\n\n    {}\n\n{}\n{before}", escape(&about), escape(&made.key), output.paint(Colour::Bad, warning))
}

fn list(rows: &[KeyRow], output: &Output) -> String {
    if rows.is_empty() {
        return "there are no keys: `honeyguide keys create NAME --role ROLE` makes one\n".to_owned();
    }
    let columns = ["id", "name", "state", "roles", "sensors", "expires", "last used"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for row in rows {
        table.row([
            row.id.as_str().into(),
            row.name.as_str().into(),
            row.state.as_str().into(),
            roles(row).into(),
            sensors(row).into(),
            moment(row.expires_at.as_ref(), "never").into(),
            moment(row.last_used_at.as_ref(), "").into(),
        ]);
    }
    table.render(output)
}
