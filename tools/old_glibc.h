/* Included in every source of a Linux wheel (gcc -include). These functions have newer versions than glibc 2.17,
   which manylinux_2_17 has; the old versions compute the same. auditwheel finds any other that is too new. */
#ifdef __x86_64__
#define OLD(name) __asm__(".symver " #name "," #name "@GLIBC_2.2.5");
#else
#define OLD(name) __asm__(".symver " #name "," #name "@GLIBC_2.17");
#endif
OLD(exp) OLD(log) OLD(pow) OLD(pthread_create) OLD(pthread_join)
