"""Digital patients: PET activity, CT, MR, organs and lesions whose truth is known, drawn from a seed."""
