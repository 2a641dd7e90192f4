/* Text to hashed features. The definition is in features/text.py; this follows it bit for bit. */
#ifndef TOKEN2WAVE_TEXT_H
#define TOKEN2WAVE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define N_CODE_POINTS 0x110000
#define N_ASCII 0x80

/* Class and lower-case letter of every code point, N_CODE_POINTS entries each. */
typedef struct {
    const uint8_t *classes;
    const uint32_t *lower;
    uint16_t ascii[N_ASCII];   /* class << 8 | letter, which is ASCII, too */
    uint8_t word_letter[256];  /* of a byte: its letter, if it is ASCII of class word, else 0 */
} letter_table;

letter_table letters(const uint8_t *classes, const uint32_t *lower);

/* A text on its way through read_tokens. */
typedef struct {
    const uint8_t *place, *end;
    uint64_t sum;   /* of the word that is being read */
    int length;     /* of that word, in code points */
    int after_word; /* whether the code point before this one is of class word by the table */
} text_reader;

/* Begin with a text in UTF-8; surrogates are encoded like any other code point. */
text_reader read_text(const char *utf8, size_t n_bytes);

/* Hash the next tokens of the text, as many as there is room for, which must be two or more.

   Returns their number, 0 at the end of the text, or -1 where the bytes are no UTF-8. */
int64_t read_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes, int64_t room);

/* Buckets of a text's words, then of its 2-grams, up to its n-grams.

   hashes: of n_words words, the first n_before of which serve only as the beginnings of n-grams: features
           that end in one of them are left out.
   grams: room for n_words numbers.
   buckets: room for n_words * ngrams; the leading `bits` bits of each hash are written.
   Returns how many were written. */
int64_t ngram_buckets(const uint64_t *hashes, int64_t n_before, uint64_t *grams, int64_t n_words, int ngrams,
                      int bits, uint32_t *buckets);

#endif
