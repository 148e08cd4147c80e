/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A frame generator for libcamera's virtual pipeline that shows a JPEG file as it is now. */

#include "live_picture.h"

#include <errno.h>
#include <fstream>
#include <iterator>

#include <libcamera/base/log.h>

#include <libcamera/formats.h>
#include <libcamera/framebuffer.h>

#include "libcamera/internal/mapped_framebuffer.h"

#include "libyuv/convert.h"
#include "libyuv/convert_argb.h"
#include "libyuv/convert_from.h"
#include "libyuv/scale.h"

namespace libcamera {

LOG_DECLARE_CATEGORY(Virtual)

namespace {

/* The three planes of an I420 picture that lies in one piece, and their strides in bytes. */
struct Planes {
	Planes(uint8_t *data, int width, int height)
		: y(data), u(y + width * height), v(u + (width / 2) * (height / 2)),
		  stride(width), half(width / 2)
	{
	}

	uint8_t *y, *u, *v;
	int stride, half;
};

size_t bytesOf(int width, int height)
{
	return width * height + 2 * (width / 2) * (height / 2);
}

} /* namespace */

LivePicture::LivePicture(const std::filesystem::path &file)
	: file_(file)
{
}

void LivePicture::setFormat(const PixelFormat &format)
{
	format_ = format;
}

void LivePicture::configure([[maybe_unused]] const Size &size)
{
	/* The size may be another one, so the next frame loads the picture anew. */
	loadedAt_ = std::filesystem::file_time_type::min();
}

bool LivePicture::load(const Size &size)
{
	std::ifstream stream(file_, std::ios::binary);
	const std::vector<uint8_t> jpeg{ std::istreambuf_iterator<char>(stream), {} };

	int width, height;
	if (libyuv::MJPGSize(jpeg.data(), jpeg.size(), &width, &height)) {
		LOG(Virtual, Error) << file_ << " is not a JPEG picture";
		return false;
	}

	/* Where chroma has half the lines, a line too many would lie outside of it. */
	const int evenWidth = width & ~1, evenHeight = height & ~1;
	std::vector<uint8_t> whole(bytesOf(evenWidth, evenHeight));
	const Planes in(whole.data(), evenWidth, evenHeight);
	if (libyuv::MJPGToI420(jpeg.data(), jpeg.size(), in.y, in.stride, in.u, in.half, in.v,
			       in.half, width, height, evenWidth, evenHeight)) {
		LOG(Virtual, Error) << file_ << " cannot be decoded";
		return false;
	}

	const int w = size.width, h = size.height;
	picture_.resize(bytesOf(w, h));
	const Planes out(picture_.data(), w, h);
	libyuv::I420Scale(in.y, in.stride, in.u, in.half, in.v, in.half, evenWidth, evenHeight,
			  out.y, out.stride, out.u, out.half, out.v, out.half, w, h,
			  libyuv::kFilterBox);

	return true;
}

int LivePicture::generateFrame(const Size &size, const FrameBuffer *buffer)
{
	std::error_code error;
	const auto written = std::filesystem::last_write_time(file_, error);
	if (!error && written != loadedAt_ && load(size))
		loadedAt_ = written;
	if (picture_.empty())
		return -EIO;

	MappedFrameBuffer mapped(buffer, MappedFrameBuffer::MapFlag::ReadWrite);
	if (!mapped.isValid())
		return mapped.error();

	/* The planes of a frame lie one behind the other in its buffer, so the first one is all. */
	uint8_t *to = mapped.planes()[0].data();
	const int w = size.width, h = size.height;
	const Planes p(picture_.data(), w, h), o(to, w, h);

	/*
	 * A JPEG is full range BT.601, and so are our frames. libcamera names RGB formats from the
	 * most significant byte, libyuv from the least: RGB888 is blue first in memory. libyuv has
	 * no blue-last variant of the conversion but gives it with both chroma planes exchanged.
	 */
	if (format_ == formats::YUV420)
		return libyuv::I420Copy(p.y, p.stride, p.u, p.half, p.v, p.half,
					o.y, o.stride, o.u, o.half, o.v, o.half, w, h);
	if (format_ == formats::NV12)
		return libyuv::I420ToNV12(p.y, p.stride, p.u, p.half, p.v, p.half,
					  o.y, o.stride, o.u, w, w, h);
	if (format_ == formats::RGB888)
		return libyuv::I420ToRGB24Matrix(p.y, p.stride, p.u, p.half, p.v, p.half,
						 to, w * 3, &libyuv::kYuvJPEGConstants, w, h);
	if (format_ == formats::BGR888)
		return libyuv::I420ToRGB24Matrix(p.y, p.stride, p.v, p.half, p.u, p.half,
						 to, w * 3, &libyuv::kYvuJPEGConstants, w, h);

	return -EINVAL;
}

} /* namespace libcamera */
