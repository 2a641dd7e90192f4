/* Text to hashed features. The definition is in features/text.py; this follows it bit for bit. */
#ifndef TOKEN2WAVE_TEXT_H
#define TOKEN2WAVE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define N_CODE_POINTS 0x110000

/* Class and lower-case letter of every code point, N_CODE_POINTS entries each. */
typedef struct {
    const uint8_t *classes;
    const uint32_t *lower;
} letter_table;

/* Cut a text into tokens and hash them.

   utf8, n_bytes: the text as UTF-8; surrogates are encoded like any other code point.
   hashes: room for n_bytes hashes, since a token has at least one byte.
   Returns the number of tokens, or -1 where the bytes are no UTF-8. */
int64_t token_hashes(const uint8_t *utf8, size_t n_bytes, letter_table table, uint64_t *hashes);

/* Buckets of a text's words, then of its 2-grams, up to its n-grams.

   hashes: of its n_words words.
   grams: room for n_words numbers.
   buckets: room for n_words * ngrams; the leading `bits` bits of each hash are written.
   Returns how many were written. */
int64_t ngram_buckets(const uint64_t *hashes, uint64_t *grams, int64_t n_words, int ngrams, int bits,
                      uint32_t *buckets);

#endif
