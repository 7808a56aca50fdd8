//! Indicators: the list by score, and all that is known of one. They are written so that they lead nowhere.
use super::charts::{self, Bar};
use super::events::{self, EventRow};
use super::overview::{List, indicator_link, top};
use super::shown::{count, counted, encoded, moment, plain, value, value_of};
use crate::events::{Field, Micros, time};
use crate::index::query::quote;
use crate::indicators::{self, Indicator};
use crate::service::dossier::{Dossier, Occurrences};
use crate::service::indicators::Listed;
use maud::{Markup, html};

/// What the list was asked for, as the form shows it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub kind: String,
    pub since: String,
    pub hostile: bool,
}

pub fn list(asked: &Asked, listed: &Listed, as_of: Micros) -> Markup {
    html! {
        h1 { "Indicators" }
        section {
            form .fields action="/indicators" {
                div {
                    label for="kind" { "Kind" }
                    select id="kind" name="kind" {
                        option value="" { "all" }
                        @for kind in indicators::kinds() { option value=(kind.name()) selected[kind.name() == asked.kind] { (kind.name()) } }
                    }
                }
                div {
                    label for="since" { "Seen since" }
                    input id="since" name="since" value=(asked.since) placeholder="7d" size="10" maxlength="40";
                }
                div .check {
                    input type="checkbox" id="hostile" name="hostile" value="true" checked[asked.hostile];
                    label for="hostile" { "Only what is hostile" }
                }
                button .primary { "Show" }
            }
            form .fields action="/indicators" {
                div .grow {
                    label for="value" { "One of them" }
                    input id="value" name="value" placeholder="hxxp://evil[.]example or 203.0.113.7" maxlength="4096" autocapitalize="off" spellcheck="false";
                }
                button { "Look up" }
            }
        }
        section {
            h2 { (counted(listed.indicators.len() as u64, "indicator", "indicators")) @if listed.more > 0 { " of " (count(listed.more + listed.indicators.len() as u64)) } ", the highest scores first" }
            p .quiet { "As of " (moment(&time::format(as_of))) "." }
            @if listed.indicators.is_empty() {
                p { "None. Indicators are addresses, domains, URLs and files that events name: they appear here as soon as there are any." }
            } @else {
                div .scroll tabindex="0" role="region" aria-label="Indicators" {
                    table {
                        thead { tr { th .number { "score" } th { "kind" } th { "indicator" } th .number { "events" } th { "last seen" } th { "known" } } }
                        tbody {
                            @for found in &listed.indicators {
                                tr {
                                    td .number { (found.score) }
                                    td .quiet { (found.kind.name()) }
                                    td .value { (indicator_link(found.kind, &found.value)) }
                                    td .number { (count(found.count)) }
                                    td .nowrap { (moment(&time::format(found.last_seen))) }
                                    td { (known(found)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which lists know it.
fn known(found: &Indicator) -> Markup {
    html! {
        @if let Some(warning) = &found.warning { span .state .look { "harmless by " (plain(warning)) } " " }
        @if found.expired { span .quiet { "expired " } }
        @for list in found.known_in.iter().chain(&found.flagged_by) { span .state .bad { (plain(list)) } " " }
    }
}

pub fn one(told: &Dossier, relations: &[List], sightings: &[EventRow]) -> Markup {
    html! {
        p .kind { "Indicator" }
        h1 { @if let Some(first) = told.kinds.first() { (value_of(first.indicator.kind, &told.value)) } @else { (value(&told.value)) } }
        @for occurrences in &told.kinds { (kind(occurrences)) }
        @if relations.iter().any(|list| !list.rows.is_empty()) {
            h2 .between { "Seen in the same events" }
            div .lists {
                @for list in relations.iter().filter(|list| !list.rows.is_empty()) {
                    section { h3 { (list.title) } (top(list, "")) }
                }
            }
        }
        section {
            h2 { "Sightings" }
            @if sightings.is_empty() { p { "Its events are kept no more." } } @else { (events::table(sightings, "The newest events with it", false)) }
            @if let Some(first) = told.kinds.first() {
                @let query = format!("{}:{}", first.indicator.kind.name(), quote(&told.value));
                p { a href=(format!("/search?query={}", encoded(&query))) { "All its events" } }
            }
        }
        @if !told.sessions.is_empty() {
            section {
                h2 { "Sessions" }
                ol .sequences {
                    @for session in &told.sessions {
                        li {
                            p { (events::session_link(&session.id)) }
                            @if !session.commands.is_empty() {
                                pre { @for command in &session.commands { (plain(command)) "\n" } @if session.more { "…\n" } }
                            }
                        }
                    }
                }
            }
        }
        @if !told.verdicts.is_empty() {
            section {
                h2 { "What others say" }
                dl .facts {
                    @for answer in &told.verdicts {
                        div {
                            dt { (plain(&answer.enricher)) }
                            dd {
                                @if let Some(verdict) = &answer.verdict {
                                    (verdict.verdict.name())
                                    @if let Some(score) = verdict.score { ", " (score) " of 100" }
                                    @if let Some(summary) = &verdict.summary { ": " (plain(summary)) }
                                    @if !verdict.labels.is_empty() { " (" (plain(&verdict.labels.join(", "))) ")" }
                                }
                                @if let Some(why) = &answer.why { (plain(why)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn kind(occurrences: &Occurrences) -> Markup {
    let found = &occurrences.indicator;
    let days: Vec<Bar<'_>> = occurrences.days.iter().map(|(day, figure)| Bar { at: day, figure: *figure }).collect();
    html! {
        section {
            h2 { (found.kind.name()) " " (known(found)) }
            dl .facts {
                div { dt { "score" } dd { (found.score) " of 100" } }
                div { dt { "events" } dd { (count(found.count)) } }
                div { dt { "first seen" } dd { (moment(&time::format(found.first_seen))) } }
                div { dt { "last seen" } dd { (moment(&time::format(found.last_seen))) } }
                div { dt { "valid until" } dd { @match found.valid_until { Some(until) => { (moment(&time::format(until))) }, None => { "for ever" } } } }
                div { dt { "sensors" } dd { @for (number, (sensor, events)) in occurrences.sensors.iter().take(20).enumerate() { @if number > 0 { ", " } (plain(sensor)) " " span .quiet { (count(*events)) } } } }
            }
            @if !found.reasons.is_empty() { ul .quiet { @for reason in &found.reasons { li { (plain(reason)) } } } }
            @if days.len() > 1 { (charts::chart("events on the days it was seen", "day", &days)) }
        }
    }
}

/// Fields whose values tell something beside an indicator of this kind.
pub fn related(kind: Field) -> impl Iterator<Item = (&'static str, Field)> {
    let fields = [
        ("Addresses", Field::SrcIp),
        ("Downloads", Field::Download),
        ("Commands", Field::CommandLine),
        ("URLs", Field::Url),
        ("Domains", Field::Domain),
        ("Credentials", Field::Credential),
        ("Clients", Field::Hassh),
        ("Countries", Field::Country),
    ];
    fields.into_iter().filter(move |(_, field)| *field != kind)
}
