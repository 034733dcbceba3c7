//! The scenarios, written once and run on every runtime over real sockets.
//!
//! Each is a blocking script: the peer is a plain socket of the standard library, and what
//! happens on Storm's side comes over a channel. Nothing sleeps; every wait has a limit.
#![allow(clippy::unwrap_used)]

mod scenarios {
    pub(crate) mod building;
    pub(crate) mod client;
    pub(crate) mod compressed;
    pub(crate) mod contained;
    pub(crate) mod ending;
    pub(crate) mod harness;
    pub(crate) mod http_world;
    pub(crate) mod lasting;
    pub(crate) mod late;
    pub(crate) mod lifecycle;
    pub(crate) mod limits;
    pub(crate) mod load;
    pub(crate) mod ports;
    pub(crate) mod raw;
    pub(crate) mod rooms;
    #[allow(dead_code, reason = "some of it is for virtual time")]
    #[path = "../../../storm-proto/tests/saboteur/mod.rs"]
    pub(crate) mod saboteur;
    pub(crate) mod secured;
    pub(crate) mod server;
    pub(crate) mod slow;
    pub(crate) mod unix;
}

/// Makes one test of each scenario for a runtime.
macro_rules! instantiate {
    ($harness:ty: $($module:ident { $($scenario:ident),* $(,)? })*) => {
        $($(
            #[test]
            fn $scenario() {
                crate::scenarios::$module::$scenario::<$harness>();
            }
        )*)*
    };
}

/// Those that show what compression might change, for one runtime.
macro_rules! websocket_scenarios {
    ($harness:ty) => {
        instantiate! { $harness:
            server {
                every_kind_and_size_of_message_comes_back,
                events_come_in_order,
                an_abort_is_a_reset,
                a_handler_may_close_its_own_session,
                a_stop_says_goodbye_and_is_the_end,
                all_that_was_sent_before_a_close_arrives,
                a_panic_in_a_handler_ends_its_session_only,
            }
            client {
                a_client_opens_talks_and_closes_cleanly,
                a_server_that_vanishes_is_lost,
                a_client_and_a_server_of_this_runtime_echo,
                a_client_and_a_server_of_this_runtime_compress,
            }
            load {
                a_peer_that_does_not_read_bounds_the_memory,
                eight_threads_send_to_one_session_and_nothing_mixes,
                a_handler_that_waits_stops_its_peer,
                sixty_megabytes_go_both_ways_at_once,
            }
            rooms {
                a_room_hears_who_comes_speaks_and_goes,
            }
            slow {
                refusals_for_a_deaf_peer_are_counted,
                a_deaf_peer_is_sent_what_fits,
                a_deaf_peer_is_sent_the_newest,
                a_deaf_peer_is_sent_the_latest_of_each_key,
                a_deaf_peer_is_cut_off_where_that_is_the_policy,
            }
            limits {
                a_chain_changes_what_goes_both_ways,
                lines_go_through_a_chain_as_messages_do,
                a_flood_of_messages_ends_with_1008,
                a_flood_of_pings_ends_with_1008,
                a_throttled_peer_loses_nothing,
                a_close_ends_a_pause_and_a_paused_session_writes,
                a_pause_holds_up_what_was_read_and_an_abort_ends_it,
                a_peer_that_is_not_read_is_not_given_up,
            }
            lasting {
                a_client_comes_back_through_a_restart_of_its_server,
                a_dropped_client_closes_its_session,
                messages_are_asked_for_in_a_loop,
            }
            unix {
                a_websocket_and_lines_go_over_unix_sockets,
            }
        }
    };
}

/// Those in which compression has no part, for one runtime.
macro_rules! other_scenarios {
    ($harness:ty) => {
        instantiate! { $harness:
            server {
                plain_streams_carry_bytes_lines_and_lengths,
                a_half_closed_peer_gets_all_its_answers,
                a_reset_by_the_peer_is_a_transport_error,
                a_page_is_served_beside_the_websocket,
                a_client_whose_tls_is_not_ours_is_echoed,
                a_stop_does_not_wait_for_a_peer_that_does_not,
                a_stop_does_not_wait_for_a_handler_that_never_returns,
                connections_over_the_limit_are_closed_at_once,
                an_ipv4_peer_reaches_a_dual_stack_server,
                an_address_in_use_is_an_error,
            }
            building {
                a_server_agrees_on_a_subprotocol_of_its_settings,
                the_101_names_the_subprotocol,
                async_closures_wait_and_report,
                options_that_cannot_be_are_errors_of_the_start,
            }
            ending {
                a_shutdown_sends_newcomers_away_until_the_last_session_is_gone,
                a_shutdown_cuts_off_who_does_not_answer,
                a_shutdown_that_is_given_up_is_finished_by_a_stop,
                counters_say_what_came_and_went,
            }
            client {
                a_client_is_told_why_it_was_refused,
                a_client_that_cannot_connect_is_told_at_once,
                a_silent_server_costs_no_more_than_the_deadline,
                a_dropped_connect_closes_the_socket,
                a_plain_client_talks_lines,
                a_plain_client_and_a_server_of_this_runtime_echo,
                an_end_may_be_asked_for_again_and_again,
            }
            load {
                threads_send_to_one_plain_session_and_no_message_is_torn,
                a_peer_that_answers_no_ping_is_given_up,
                a_dead_peer_is_found_behind_a_full_send_buffer,
            }
            late {
                a_round_trip_ends_when_the_pong_arrives,
            }
            rooms {
                threads_broadcast_to_a_room_that_comes_and_goes,
            }
            lasting {
                a_client_that_comes_back_to_nobody_gives_up,
            }
            lifecycle {
                a_finished_closing_handshake_is_the_end,
                a_client_waits_for_no_fin_of_its_server,
                a_fault_ends_its_session_though_the_peer_stays,
                connect_returns_after_on_connected,
                an_on_connected_that_hangs_is_a_timeout,
            }
            unix {
                a_stale_socket_file_is_replaced_and_a_live_one_is_not,
            }
            http_world {
                an_address_may_be_said_in_many_ways,
                an_address_that_cannot_be_used_is_named,
                the_file_of_a_unix_socket_has_its_mode,
                a_refusal_is_told_although_the_connection_stays_open,
                a_peer_that_speaks_something_else_is_told_at_once,
                an_end_without_an_answer_is_asked_what_it_speaks,
                a_stranger_on_a_server_is_answered_at_once,
            }
        }
    };
}

/// Those that neither TLS nor compression changes, for one runtime.
macro_rules! plain_scenarios {
    ($harness:ty) => {
        instantiate! { $harness:
            contained {
                whatever_a_hook_does_ends_its_own_session_once,
                a_framer_that_panics_ends_its_session_once,
            }
        }
    };
}

/// Every scenario, for one runtime.
macro_rules! all_scenarios {
    ($harness:ty) => {
        websocket_scenarios!($harness);
        other_scenarios!($harness);
    };
}

mod tokio {
    all_scenarios!(crate::scenarios::harness::Tokio);
    plain_scenarios!(crate::scenarios::harness::Tokio);
}

mod smol {
    all_scenarios!(crate::scenarios::harness::Smol);
    plain_scenarios!(crate::scenarios::harness::Smol);
}

mod async_std {
    all_scenarios!(crate::scenarios::harness::AsyncStd);
    plain_scenarios!(crate::scenarios::harness::AsyncStd);
}

mod std {
    all_scenarios!(crate::scenarios::harness::Std);
    plain_scenarios!(crate::scenarios::harness::Std);
}

/// All of it again, with TLS below.
mod tls {
    use crate::scenarios::harness::{self, Secured};

    mod tokio {
        all_scenarios!(super::Secured<super::harness::Tokio>);
    }

    mod smol {
        all_scenarios!(super::Secured<super::harness::Smol>);
    }

    mod std {
        all_scenarios!(super::Secured<super::harness::Std>);
    }
}

/// And with messages that are compressed. Each runtime of these takes as long to compile as to
/// run, so there is one for each adapter.
mod deflate {
    use crate::scenarios::harness::{self, InContext};

    mod tokio {
        websocket_scenarios!(super::InContext<super::harness::Tokio>);
    }

    mod std {
        websocket_scenarios!(super::InContext<super::harness::Std>);
    }
}

/// And with both.
mod tls_deflate {
    use crate::scenarios::harness::{self, EachAlone, InContext, Secured};

    mod tokio {
        websocket_scenarios!(super::EachAlone<super::Secured<super::harness::Tokio>>);
    }

    mod smol {
        websocket_scenarios!(super::InContext<super::Secured<super::harness::Smol>>);
    }
}
