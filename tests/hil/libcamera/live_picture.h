/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A frame generator for libcamera's virtual pipeline that shows a JPEG file as it is now. */

#pragma once

#include <filesystem>
#include <stdint.h>
#include <vector>

#include <libcamera/pixel_format.h>

#include "frame_generator.h"

namespace libcamera {

class LivePicture : public FrameGenerator
{
public:
	explicit LivePicture(const std::filesystem::path &file);

	void setFormat(const PixelFormat &format) override;
	void configure(const Size &size) override;
	int generateFrame(const Size &size, const FrameBuffer *buffer) override;

private:
	bool load(const Size &size);

	const std::filesystem::path file_;
	std::filesystem::file_time_type loadedAt_;
	PixelFormat format_;
	/* I420, as large as the stream. */
	std::vector<uint8_t> picture_;
};

} /* namespace libcamera */
