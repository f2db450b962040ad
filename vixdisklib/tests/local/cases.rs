//! What the wrapper promises of any VixDiskLib, shown with disks of this machine: the part of the contract suite that needs no
//! server. Whoever includes this has a module `setup` beside it, whose `library` gives the library of the process.
//!
//! `vixdisklib` runs it against a real kit (`tests/kit.rs`), `fake-vddk` against the fake one in each of its variants. So the cases
//! rely on nothing but the fact sheet, and they are no tests yet: those who include them make tests of the list below.

pub(crate) mod cloning;
pub(crate) mod disks;
pub(crate) mod folder;
pub(crate) mod opening;
pub(crate) mod transfer;

/// Hands the names of all cases to a macro. The compiler complains of a case that is not listed, as nobody calls it.
macro_rules! for_each_local_case {
    ($receiver:ident) => {
        $receiver! {
            opening: the_library_says_what_it_is, a_disk_that_is_not_there, a_disk_says_what_it_is,
                a_second_writer_is_kept_out, metadata_is_read_and_written, allocation_is_told_by_chunks,
                nothing_to_clean_up_after_local_disks;
            transfer: what_is_written_is_read, ends_and_odd_places, bad_requests_do_not_reach_the_library,
                requests_run_together, futures_are_dropped_in_flight, many_disks_work_side_by_side,
                one_disk_serves_many_threads, sync_and_async_are_never_mixed;
            disks: hosted_types_are_made_and_deleted, disks_grow_and_keep_their_content,
                disks_are_renamed_with_their_files, children_hold_what_is_written_from_then_on,
                holes_of_a_chain_and_of_a_single_link, a_chain_is_attached_and_the_parent_is_gone,
                shrinking_and_defragmenting_keep_the_content, a_sound_disk_is_checked;
            cloning: every_type_is_cloned_to_every_type, a_clone_overwrites_when_it_is_told_to,
                a_stream_is_read_and_not_written, the_space_for_a_clone_is_enough, a_clone_of_nothing_is_refused;
        }
    };
}
pub(crate) use for_each_local_case;
