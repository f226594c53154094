#ifndef FIRMWARE_SUPPORT_H
#define FIRMWARE_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

enum { FAULT_STATUS = 99 };

void print(const char* text);
void print_hex(const char* name, uint64_t value); /* 16 digits and a new line */
void semihosting_exit(int status);

#endif
