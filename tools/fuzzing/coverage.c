/* Tells the libFuzzer inside atheris where the native core counts its branches.

   The library is loaded by its path, which TOKEN2WAVE_LIBFUZZER names, since Python keeps its symbols to itself. Linked into
   the core that `make fuzz` builds, and into no other. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

typedef void (*Register)(const void *, const void *);

static void forward(const char *name, const void *first, const void *last) {
    const char *path = getenv("TOKEN2WAVE_LIBFUZZER");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    Register found = library ? (Register)dlsym(library, name) : NULL;
    if (found) found(first, last);
}

__attribute__((visibility("hidden"))) void __sanitizer_cov_8bit_counters_init(const void *first, const void *last) {
    forward("__sanitizer_cov_8bit_counters_init", first, last);
}

__attribute__((visibility("hidden"))) void __sanitizer_cov_pcs_init(const void *first, const void *last) {
    forward("__sanitizer_cov_pcs_init", first, last);
}
