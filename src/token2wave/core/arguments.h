/* Arguments from Python: checked, unpacked and released. */
#pragma once

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layout.h"
#include "predict.h"

#define WRONG_SIZE "an array has the wrong size: %s"
#define INCONSISTENT "texts, rows, labels or the order of the texts do not fit together"

/* The methods of the module; _core.pyi documents them. */
#define METHODS(X)                                                                                    \
    X(open_letters) X(token_hashes) X(token_buckets) X(count) X(select_rows) X(document_frequency) X(fingerprint)     \
    X(sum_rows)                                                                                       \
    X(train) X(fit_linear_svm) X(open_words) X(oov_ids) X(open_network) X(predict_texts) X(predict_utf8)  \
    X(predict_rows) X(explain_text)
#define METHOD(name) PyObject *name(PyObject *Py_UNUSED(self), PyObject *args)
#define DECLARE(name) METHOD(name);
METHODS(DECLARE)

/* Raise ValueError; returns NULL. */
void *refuse(const char *message);

/* Whether a buffer holds `count` items; else an exception is set. */
int has_size(const Py_buffer *buffer, int64_t count, size_t item, const char *name);

/* Release buffers, except those that were never filled. */
void release(Py_buffer *buffers, int count);

/* The table in a capsule that open_letters made, or NULL with an exception set. */
const letter_table *letters_in(PyObject *capsule);

/* Borrow the bytes of texts[i]: those of the string itself, or an encoded copy if it is not ASCII. Returns 0
   with an exception set if it is no string; release_texts must be called all the same. */
int borrow(PyObject *texts, Py_ssize_t i, text_bytes *out);
void release_texts(text_bytes *texts, Py_ssize_t n);

/* The numbers of a shape, in the order of its members, as a tuple of their own. */
#define SHAPE "LLLLLiipippL"
#define SHAPE_OF(s)                                                                                   \
    &(s).n_rows, &(s).n_classes, &(s).width, &(s).context_width, &(s).radius, &(s).modulates,         \
        &(s).reads_cls, &(s).linear_variants, &(s).restore, &(s).has_linear_svm, &(s).is_multi_label, \
        &(s).n_oov

/* Whether a shape can be computed; else an exception is set. */
int is_shape(network_shape shape);

/* Whether ids, offsets and n_ordered, which stand at `arrays`, are texts of rows below n_rows, and then of
   n_oov more ids; else an exception is set. */
int are_texts(const Py_buffer *arrays, int64_t n_rows, int64_t n_oov, ragged_texts *out);
