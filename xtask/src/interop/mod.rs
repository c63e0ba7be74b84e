//! The interop tests: the `sunstar` command with the kernel, curl, wrk and tshark at the other end.
//!
//! Each case is one function with a sentence for a name. It makes the network namespaces it needs, and
//! what it made is gone when it returns, panics, or is interrupted.

mod arp;
mod browser;
mod capture;
mod dhcp;
mod embedded;
mod fragments;
mod http;
mod impaired;
mod load;
mod namespace;
mod path_mtu;
mod ping;
mod route;
mod shards;
mod stage;
mod wire;

pub(crate) use capture::inspect;
pub(crate) use fragments::{held, most_that_may_be_held};
pub(crate) use http::{Curl, download_in_parallel, random_file, sha256, shards_total, url};
pub(crate) use impaired::{Direction, ImpairedPath, NearEnd};
pub(crate) use load::{Wrk, wrk};
pub(crate) use namespace::Namespace;
pub(crate) use path_mtu::{Routers, through_a_narrow_path};
pub(crate) use shards::{by_software, by_the_program, through_proxies};
pub(crate) use stage::{KERNEL, SERVER, Stage, TAP, TapServer};
pub(crate) use wire::transfer;

use crate::failure::{Failure, ensure};
use crate::workspace;

/// How the command under test is built: release speed with debug's checks.
pub(crate) const PROFILE: &str = "checked";

/// What a case's full name begins with.
pub(crate) const PREFIX: &str = "interop::";

/// One interop test.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Stage) -> Result<(), Failure>,
}

macro_rules! cases {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        &[$(Case { name: stringify!($case), run: $module::$case }),+]
    };
}

const CASES: &[Case] = cases![
    ping::the_kernel_pings_the_server_and_loses_nothing,
    ping::a_ping_that_fills_the_mtu_is_answered,
    ping::our_ping_reaches_the_kernel,
    ping::large_pings_cross_in_fragments_both_ways,
    route::our_traceroute_shows_a_router_and_the_host_behind_it,
    route::our_ping_prints_what_a_router_says_instead_of_a_reply,
    http::curl_fetches_the_page,
    http::the_counters_are_an_object_with_an_array_of_shards,
    http::a_posted_body_is_answered_with_its_sha256,
    http::a_large_download_arrives_unchanged,
    http::a_large_upload_arrives_unchanged,
    http::many_downloads_at_once_arrive_unchanged,
    http::a_port_nobody_listens_on_refuses_at_once,
    wire::a_host_behind_a_router_finds_every_checksum_right,
    wire::chargen_and_discard_move_bytes,
    load::wrk_keeps_connections_alive_without_an_error,
    load::wrk_opens_a_connection_a_request_without_an_error,
    browser::a_browser_shows_every_shard_and_the_steering_picture,
    shards::two_shards_are_steered_to_by_the_kernel_and_forward_nothing,
    shards::two_shards_without_the_program_forward_and_answer_every_request,
    shards::four_shards_serve_through_one_queue,
    shards::four_shards_serve_through_two_queues,
    dhcp::leases_are_obtained_renewed_and_given_back,
    dhcp::replies_by_whichever_queue_reach_the_shard_that_asked,
    dhcp::a_server_that_has_moved_is_found_at_t2,
    dhcp::a_refusal_is_heeded_and_another_lease_obtained,
    dhcp::an_address_that_somebody_has_is_declined,
    dhcp::names_are_asked_of_the_lease_s_server_over_udp_and_what_is_long_over_tcp,
    dhcp::four_shards_are_configured_and_serve,
    fragments::large_pings_and_datagrams_come_back_whole,
    fragments::fragments_in_any_order_from_fifty_hosts_are_put_together,
    fragments::fragments_that_are_never_completed_hold_little_and_hinder_nobody,
    path_mtu::a_narrow_path_is_found_by_what_a_router_says,
    path_mtu::a_narrow_path_is_found_where_no_router_says_anything,
    impaired::what_a_link_loses_and_reorders_arrives_whole_both_ways,
    arp::an_answer_nobody_asked_for_changes_no_neighbour,
    arp::a_station_that_claims_our_address_is_reported_and_answered,
    arp::a_scan_of_all_addresses_leaves_the_gateway_where_it_was,
    capture::tshark_finds_nothing_wrong_in_the_server_s_own_capture,
    embedded::an_unprivileged_user_serves_on_the_machine_s_loopback,
    embedded::a_tap_without_permission_is_refused_with_advice,
    http::a_server_asked_to_end_does_so_with_every_buffer_home,
];

/// All cases, in the order they run.
pub(crate) fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter()
}

impl Case {
    /// The name to choose it by.
    pub(crate) fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Plays the case on a stage of its own. A failure tells what the services printed.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        ensure_possible()?;
        Stage::new(workspace::sunstar(PROFILE)?)?.play(self.run)
    }
}

/// Says what is missing when this machine or user cannot run the cases.
pub(crate) fn ensure_possible() -> Result<(), Failure> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the interop tests make network namespaces and a tap: run them as root (`sudo -E cargo xtask interop`)"
    );
    ensure!(
        std::path::Path::new("/dev/net/tun").exists(),
        "/dev/net/tun does not exist: load the `tun` module, or give this container the device"
    );
    Ok(())
}
