/* Where processes of one boot leave to each other what they have seen of the host slots (‡D11): one small file per
 * lockspace in a directory of this machine's own.  Everything here may block, and may fail: that costs time, nothing
 * else, so nobody is told. */
#ifndef DPX_HOST_SIGHTINGS_H
#define DPX_HOST_SIGHTINGS_H

#include "../protocol/sightings.h"

#define DPX_DIRECTORY_MAX 511

typedef struct dpx_sightings_place {
    char directory[DPX_DIRECTORY_MAX + 1];
    dpx_geometry geometry; /* its UUID names the file */
    dpx_uuid boot;
} dpx_sightings_place;

/* Do all processes whose sightings may be here read one and the same clock? */
bool dpx_sightings_clock(void);

/* sightings: dpx_sightings_count of them.  False: there is no file, or it is not to be trusted. */
bool dpx_sightings_load(const dpx_sightings_place *place, dpx_sighting *sightings);

/* Merges these into what is there, and replaces it as a whole.  0 or -errno. */
int dpx_sightings_save(const dpx_sightings_place *place, const dpx_sighting *sightings);

#endif
