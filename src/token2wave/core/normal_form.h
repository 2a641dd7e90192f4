/* The normal form of texts, so that texts that look the same have the same features.
   features/normalisation.py defines it; the slow twin must agree bit for bit. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define N_CODE_POINTS 0x110000

/* The tables of features/normalisation.py. The first four have N_CODE_POINTS entries each. */
typedef struct {
    const uint8_t *classes, *marks, *combining;
    const uint32_t *folded;
    const uint32_t *expanded; /* (n_expanded,) */
    const int64_t *expansion_offsets;
    const uint32_t *expansion_letters;
    const uint64_t *pairs; /* (n_pairs,) */
    const uint32_t *composites;
    int64_t n_expanded, n_pairs;
} unicode_table;

/* Room for the normal form of a text, for one text after the other; zeros at first. */
typedef struct {
    uint8_t *bytes;
    uint32_t *letters;
    int64_t *origins; /* of each letter: the code point of the text, or the first one of a segment that changed */
    int64_t n_letters, n_code_points; /* of the normal form and of the text */
    int64_t room;
} normal_form;

#define BROKEN UINT32_MAX /* not UTF-8 */

/* Decode the code point at *place and step over it; BROKEN if it is not UTF-8. */
uint32_t next_code_point(const uint8_t **place, const uint8_t *end);

/* Put a text in UTF-8 into its normal form, except that each code point must still be folded. *utf8 and *size
   become those of the form, unless the text is normal or no UTF-8. Returns 1 if they changed, 0 if not, or -1
   if memory ran out. free_normal_form must be called in the end. */
int normalise_text(const unicode_table *table, const char **utf8, size_t *size, normal_form *form);
void free_normal_form(normal_form *form);
