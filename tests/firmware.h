// The firmware example around a compiled library, under qemu's emulator of a whole board.
#pragma once

#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "ir/interpreter.h"
#include "targets/inspect.h"
#include "targets/library_files.h"
#include "tests/compiled_archive.h"

namespace mattec::test {

constexpr char firmware_target[] = "arm-64-baremetal";

// What examples/firmware/main.c prints, computed by the interpreter.
inline std::string wanted_firmware_output(const ir::Graph& graph, ir::Size size, int frames) {
  ir::Interpreter oracle(graph, size);
  uint64_t seed = 1, checksum = 0xcbf29ce484222325U;
  for (int frame = 0; frame < frames; ++frame) {
    std::vector<uint8_t> pixels(static_cast<size_t>(size.height) * size.width * 3);
    for (uint8_t& pixel : pixels) {
      seed = seed * 6364136223846793005U + 1442695040888963407U;
      pixel = static_cast<uint8_t>(seed >> 56);
    }
    oracle.step(pixels.data());
    for (const uint8_t alpha : oracle.output("pha")) checksum = (checksum ^ alpha) * 0x100000001b3U;
  }
  char line[40];
  std::snprintf(line, sizeof line, "mattes %016" PRIx64 "\n", checksum);
  return line;
}

// Builds the example with the library, called "rvm", and runs it: exit status and console.
inline Outcome run_firmware(const targets::CompiledLibrary& library, const std::string& options) {
  const ScratchFolder folder;
  targets::write_library(library, "rvm", folder.path());
  const std::string example = std::string(MATTEC_SOURCE_DIR) + "/examples/firmware/";
  const std::string files = folder / firmware_target, image = folder / "firmware.elf";
  const Outcome built = run(
      "aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic "
      "-no-pie -fno-stack-protector -fno-tree-loop-distribute-patterns " +
      options + " -I" + files + " -T " + example + "memory.ld " + example + "start.S " + example +
      "support.c " + example + "main.c " + files +
      "/librvm.a -Wl,--build-id=none,--no-warn-rwx-segments -o " + image);
  if (built.status != 0) return built;
  return run(
      "timeout 300 qemu-system-aarch64 -M virt -cpu cortex-a53 -m 256M -nic none -nographic "
      "-monitor none -serial none -semihosting-config enable=on,target=native -kernel " +
      image);
}

// Compiles the network, looks that it wants nothing, and boots it: it prints what it must.
inline targets::CompiledLibrary expect_firmware(const ir::Graph& graph, ir::Size size, int frames) {
  targets::CompileOptions options;
  options.target = firmware_target;
  options.size = size;
  options.name = "rvm";
  targets::CompiledLibrary library = targets::compile(graph, options);
  EXPECT_EQ(targets::inspect_archive("librvm.a", library.archive).undefined,
            std::vector<std::string>{});
  const Outcome played = run_firmware(library, "-DFRAMES=" + std::to_string(frames));
  EXPECT_EQ(played.output, wanted_firmware_output(graph, size, frames));
  EXPECT_EQ(played.status, 0);
  return library;
}

}  // namespace mattec::test
